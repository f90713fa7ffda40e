"""Tells the host what a script printed. Runs in a process of its own that ends: it reads what a script wrote."""

import sys

import port

with open(sys.argv[1], "rb") as output:
    for line in output:
        port.tell("output", text=line.removesuffix(b"\n").decode(errors="replace"))
