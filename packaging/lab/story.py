"""What the staff do on one day: their work as before, and everything that must not leave."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from services import Agent, LabError, die_with_parent, wait_until
from world import CONVERT, HERE, NEAR, WEB, World

PYTHON = "/usr/bin/python3"
# No copy of one picture takes that long; a command that does hangs.
PATIENCE = 120
# From the refusal to the record that can be read.
RECORDED = 30
REFUSED = ("blocked", "undone", "quarantined")

# Each moves `source` into the directory `place`, as people and scripts do it.
TOOLS: dict[str, Callable[[Path, Path], list[str]]] = {
    "cp": lambda source, place: ["cp", str(source), str(place)],
    "mv": lambda source, place: ["mv", str(source), str(place)],
    "dd": lambda source, place: ["dd", f"if={source}", f"of={place / source.name}", "bs=1M", "status=none"],
    "rsync": lambda source, place: ["rsync", "-a", str(source), f"{place}/"],
    "tar | tar": lambda source, place: shell('tar -C "$1" -cf - "$2" | tar -C "$3" -xf -', source.parent, source.name, place),
    "cat >": lambda source, place: shell('cat "$1" > "$2"', source, place / source.name),
    "python3": lambda source, place: [PYTHON, "-B", str(HERE / "own_converter.py"), str(source), str(place / source.name)],
    "ln": lambda source, place: ["ln", str(source), str(place / source.name)],
}


def shell(script: str, *words: object) -> list[str]:
    return ["sh", "-c", script, "sh", *map(str, words)]


@dataclass
class Attempt:
    """One attempt: what was planned, and what the records and the destination say of it."""

    what: str
    tool: str
    source: Path
    master: Path | None
    destination: str
    place: Path
    command: list[str]
    arrives: bool
    # A master of a vault is refused when it is opened: no destination is known then.
    opens: bool = False
    pid: int = 0
    records: list[dict] = field(default_factory=list)
    bytes_arrived: int = 0
    faults: list[str] = field(default_factory=list)

    def concerns(self, record: dict) -> bool:
        """Whether a record tells of this attempt: each has a directory of its own at its destination."""
        if self.opens:
            return record["destination"] is None and any(process["pid"] == self.pid for process in record["processes"])
        return record["destination"] is not None and record["destination"]["target"].startswith(f"{self.place}/")

    @property
    def decisive(self) -> dict | None:
        """The record that tells how it ended: the worst for the copy."""
        order = ["failed", *REFUSED, "would-block", "allowed"]
        return min(self.records, key=lambda record: order.index(record["disposition"]), default=None)

    @property
    def is_refused(self) -> bool:
        return self.decisive is not None and self.decisive["disposition"] in REFUSED


class Story:
    """Plays the day and keeps what happened."""

    def __init__(self, world: World, agent: Agent):
        self.world = world
        self.agent = agent
        self.attempts: list[Attempt] = []
        self.places = {
            "USB disk": world.usb,
            "museum's server": world.server,
            "sync folder": world.sync,
            "website": world.website,
            "archive": world.archive,
            "workstation": world.web,
        }

    def play(self) -> None:
        tell("the staff downsize masters for the web and for licensees")
        web, near = self.derive()
        self.agent.wait_for_measurements()
        tell("their work goes on as before")
        self.work_as_before(web)
        tell("everything else is tried with every tool")
        self.take_masters_and_near_copies(near)
        if self.world.gate:
            tell("programs that the vault does not name try to open its masters")
            self.open_the_vault()
        self.collect()

    def derive(self) -> tuple[dict[Path, Path], dict[Path, Path]]:
        """Web copies and 90 % copies of the masters, made on the workstation: by master."""
        web, near = {}, {}
        for scan in self.world.scans + self.world.sealed:
            web[scan] = self.world.web / scan.name / f"{scan.stem}.jpg"
            self.attempt("downsize for the web", "convert", scan, scan, "workstation", web[scan].parent,
                         [str(CONVERT), str(scan), "-depth", "8", "-resize", WEB, "-quality", "88", str(web[scan])], arrives=True)
        for scan in self.world.scans:
            near[scan] = self.world.near / f"{scan.stem}.jpg"
            self.run("convert", [str(CONVERT), str(scan), "-depth", "8", "-resize", NEAR, "-quality", "92", str(near[scan])])
        return web, near

    def work_as_before(self, web: dict[Path, Path]) -> None:
        masters = list(web)
        tools = ["cp", "rsync", "dd", "tar | tar", "python3"]
        for number, master in enumerate(masters):
            what = "web copy from the vault" if master in self.world.sealed else "web copy"
            self.copy(what, tools[number % len(tools)], web[master], master, "website", arrives=True)
        self.copy("web copy", "mv", self.spare(web[masters[0]], "mv"), masters[0], "website", arrives=True)
        self.copy("web copy", "tar | tar", web[masters[0]], masters[0], "museum's server", arrives=True)
        self.copy("master", "rsync", masters[0], masters[0], "archive", arrives=True)
        self.copy("holiday picture", "cp", self.world.holiday, None, "USB disk", arrives=True)

    def take_masters_and_near_copies(self, near: dict[Path, Path]) -> None:
        tools = ["cp", "mv", "dd", "rsync", "tar | tar", "cat >", "python3"]
        closed = ["USB disk", "museum's server", "sync folder"]
        masters = list(near)
        for number, tool in enumerate(tools):
            # What `watch` takes back it has read first: a few are enough to see it.
            places = closed if self.world.gate else [closed[number % len(closed)]]
            for step, place in enumerate(places):
                master = masters[(number + step) % len(masters)]
                self.copy("master", tool, self.spare(master, tool), master, place, arrives=False)
                self.copy(f"{NEAR} copy", tool, self.spare(near[master], tool), master, place, arrives=False)
        for master, what, file in [(masters[0], "master", masters[0]), (masters[1], f"{NEAR} copy", near[masters[1]])]:
            self.copy(f"{what}, hard link", "ln", file, master, "sync folder", arrives=False)
            moved = file if self.world.gate else self.spare(file, "mv")
            self.copy(f"{what}, renamed", "mv", moved, master, "sync folder", arrives=False)
        self.copy(f"{NEAR} copy", "cp", near[masters[0]], masters[0], "website", arrives=False)
        self.copy(f"{NEAR} copy of long ago", "cp", self.world.old_copy, masters[0], "USB disk", arrives=False)

    def open_the_vault(self) -> None:
        master = self.world.sealed[0]
        place = self.world.copies / "converted"
        place.mkdir()
        own = self.world.outside / "convert-im6.q16"
        self.run("cp", ["cp", str(CONVERT), str(own)])
        for what, tool, command in [
            ("own script opens a vault master", "python3", TOOLS["python3"](master, place)),
            ("cp opens a vault master", "cp", TOOLS["cp"](master, place)),
            ("copy of convert opens it", "convert", [str(own), str(master), str(place / "own.jpg")]),
        ]:
            self.attempt(what, tool, master, master, "vault", place, command, arrives=False, opens=True)

    def copy(self, what: str, tool: str, source: Path, master: Path | None, destination: str, arrives: bool) -> None:
        place = self.places[destination] / f"{len(self.attempts) + 1:02}"
        self.attempt(what, tool, source, master, destination, place, TOOLS[tool](source, place), arrives)

    def attempt(self, what: str, tool: str, source: Path, master: Path | None, destination: str, place: Path,
                command: list[str], arrives: bool, opens: bool = False) -> None:
        attempt = Attempt(what, tool, source, master, destination, place, command, arrives, opens)
        self.attempts.append(attempt)
        place.mkdir(exist_ok=True)
        attempt.pid = self.run(tool, command)
        self.count(attempt)
        if arrives and not attempt.bytes_arrived:
            attempt.faults.append("nothing arrived")

    def spare(self, file: Path, tool: str) -> Path:
        """The file itself, or a copy of it where the tool would take the only one away."""
        if tool != "mv":
            return file
        folder = self.world.copies / f"{len(self.attempts) + 1:02}"
        folder.mkdir()
        self.run("cp", ["cp", str(file), str(folder)])
        # A copy has the label of its writer until it is measured.
        self.agent.wait_for_measurements()
        return folder / file.name

    def run(self, name: str, command: list[str]) -> int:
        """Runs a tool to its end. Nothing of it comes back by a pipe: this process must not carry a label."""
        with open(self.world.log / "tools", "ab") as log:
            log.write(f"$ {command}\n".encode())
            log.flush()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise LabError(f"{name} did not end within {PATIENCE} seconds: {command}") from None
        return process.pid

    def count(self, attempt: Attempt) -> None:
        """What lies at the destination now, by name and size; nothing is opened."""
        attempt.bytes_arrived = sum(size(path) for path in attempt.place.rglob("*") if path.is_file())

    def collect(self) -> None:
        """Waits for a record of everything that should have been refused, then looks at what is left."""
        def told() -> bool:
            transfers = self.agent.transfers()
            for attempt in self.attempts:
                attempt.records = [record for record in transfers if attempt.concerns(record)]
            return all(attempt.arrives or attempt.is_refused for attempt in self.attempts)

        try:
            wait_until("every refusal is recorded", RECORDED, told)
        except LabError as error:
            tell(str(error))
        for attempt in self.attempts:
            if attempt.opens:
                attempt.bytes_arrived = sum(size(path) for path in attempt.place.iterdir())
            else:
                self.count(attempt)


def tell(what: str) -> None:
    """Where the story is; the table and the summary have the standard output."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)


def size(path: Path) -> int:
    """Bytes of a file; none where the agent has taken it back meanwhile."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
