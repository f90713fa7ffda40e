"""Tells the host what a script printed. Runs in a process that ends: it reads what a script wrote."""

from pathlib import Path

import port


def relay(path: Path) -> None:
    with open(path, "rb") as output:
        for line in output:
            port.tell("output", text=line.removesuffix(b"\n").decode(errors="replace"))
