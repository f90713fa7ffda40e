"""The installed system, as the checks use it, and the way to the host."""

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

LAB = json.loads(Path("/vm/lab.json").read_text())
MASTERS = LAB["masters"]
PORT = os.open("/dev/vport0p1", os.O_WRONLY)
DEBS = Path("/vm/debs")
PINS = Path("/sys/fs/bpf/vitrine")
POLICY = Path("/etc/vitrine/policy.toml")
SETTINGS = Path("/etc/vitrine/agent.toml")
STATE = Path("/var/lib/vitrine")
USB = Path("/media/usb")
AGENT, COLLECTOR = "vitrine.service", "vitrine-collector.service"
ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


def tell(kind: str, **more: object) -> None:
    left = memoryview(json.dumps({"kind": kind, **more}).encode() + b"\n")
    while left:
        left = left[os.write(PORT, left) :]


def check(name: str, ok: object, found: object = "") -> bool:
    """One line of the answer. What was found is told of what failed, and of what is a figure; a function is asked where it failed."""
    if callable(found):
        found = "" if ok else found()
    tell("check", name=name, ok=bool(ok), found=str(found)[-2000:])
    return bool(ok)


class Done:
    """What a command that has ended said."""

    def __init__(self, *command: object, seconds: float = 120):
        try:
            done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  errors="replace", env=ENVIRONMENT, check=False, timeout=seconds)
            self.status, self.text = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            self.status, self.text = 124, f"not done within {seconds:.0f} s: {error.stdout}"

    def __bool__(self) -> bool:
        return self.status == 0

    def __str__(self) -> str:
        return f"status {self.status}: {self.text.strip()}"


def wait_until(what: Callable[[], object], seconds: float = 60) -> object:
    """The first answer that is something; else the last one."""
    end = time.monotonic() + seconds
    while not (answer := what()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


def shown(unit: str, name: str) -> str:
    return Done("systemctl", "show", unit, f"--property={name}", "--value").text.strip()


def status() -> dict:
    """What the agent says of itself, if it is the one that runs now."""
    try:
        told = json.loads((STATE / "status.json").read_text())
    except (OSError, ValueError):
        return {}
    return told if str(told.get("pid")) == shown(AGENT, "MainPID") else {}


def enforces() -> bool:
    told = status()
    return told.get("mode") == "enforce" and told.get("guard") == "flow"


def recorded(code: str) -> list[dict]:
    """The agent's records under this code."""
    found = []
    # Ten thousand of them take an emulated processor minutes.
    for line in Done("vitrine", "events", "--json", seconds=600).text.splitlines():
        try:
            record = json.loads(line)
            if record["unmapped"]["vitrine"]["event"].get("code") == code:
                found.append(record)
        except (ValueError, KeyError):
            continue
    return found


def notices(code: str) -> list[str]:
    """What they say."""
    return [record["unmapped"]["vitrine"]["event"]["message"] for record in recorded(code)]


def install(*names: str) -> Done:
    """As unattended-upgrades does it: what was edited stays."""
    return Done("dpkg", "--force-confdef", "--force-confold", "-i", *(DEBS / f"{name}.deb" for name in names), seconds=300)


def restarted(seconds: float = 200) -> Done:
    return Done("systemctl", "restart", AGENT, seconds=seconds)


def said_lately(lines: int = 8) -> str:
    """The end of what the agent has said in the journal."""
    return Done("journalctl", "-n", lines, "-o", "cat", "-u", AGENT).text.strip()


class Filled:
    """A root without room, but for `leaving` bytes, as long as it lasts."""

    def __init__(self, leaving: int = 0):
        self.leaving = leaving
        self.file, self.rest = Path("/var/filled"), Path("/var/filled.rest")

    def __enter__(self) -> None:
        free = os.statvfs("/")
        Done("fallocate", "--length", free.f_bavail * free.f_frsize - self.leaving, self.file)
        if not self.leaving:
            Done("busybox", "dd", "if=/dev/zero", f"of={self.rest}", "bs=4k")

    def __exit__(self, *_: object) -> None:
        for path in [self.file, self.rest]:
            path.unlink(missing_ok=True)


def exposure(unit: str) -> float:
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", Done("systemd-analyze", "security", "--no-pager", unit).text)
    return float(found[1]) if found else 99.0


class Copier:
    """Tries to copy masters every `pause` milliseconds (copier.c). Everything that it got is told at its end."""

    def __init__(self, pause: int = 10) -> None:
        self.log = Path("/run/copier.log")
        # Behind everybody else: an emulated processor has no room for a hundred processes a second beside an update.
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["nice", "-n", "19", "/vm/guest/copier", str(pause), USB, *MASTERS], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log, text=True)

    def end(self) -> dict:
        self.process.terminate()
        counted = json.loads(self.process.communicate(timeout=60)[0])
        return {**counted, "which": self.log.read_text()[-600:]} if counted["arrived"] else counted


@contextmanager
def unharmed(name: str, pause: int = 10) -> Iterator[None]:
    """Copies are tried every `pause` milliseconds, and none arrives."""
    copier = Copier(pause)
    try:
        yield
    finally:
        counted = copier.end()
        check(name, counted["arrived"] == 0 and counted["tried"] > 100, counted)
