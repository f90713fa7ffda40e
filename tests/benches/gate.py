"""What the gate costs whoever opens files that it has nothing against."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pictures
from sample import Row, alternate, spend, wait_until
from world import Lab, World, end, need

WARM = 20_000
FILES = 5_000
DENIED = 300
MASTERS = 8
TREE = 3_000
# What the tree is made from: headers, programs and texts of this machine.
ROOTS = ("/usr/include", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/share/doc")


class Opens:
    """Runs `opens` in a world, guarded by nobody, by the agent or by the trivial responder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.program = world.lab.compiled("opens")

    def run(self, *arguments: object) -> float:
        """Microseconds each. They come through a file: a pipe would carry a label to whoever reads it."""
        with (self.world.root / "said").open("w+b") as said:
            subprocess.run([self.program, *map(str, arguments)], check=True, stdout=said)
            said.seek(0)
            return float(said.read())

    def piped(self, *arguments: object) -> float:
        return float(subprocess.run([self.program, *map(str, arguments)], check=True, capture_output=True).stdout)

    def alone(self, *arguments: object) -> float:
        return self.run(*arguments)

    def guarded(self, *arguments: object) -> float:
        self.world.start()
        try:
            return self.run(*arguments)
        finally:
            self.world.stop()

    def answered(self, *arguments: object) -> float:
        return answered(self.world, lambda: self.run(*arguments))


def answered(world: World, measure: Callable[[], float]) -> float:
    """Measures while the trivial responder answers for the world's disk."""
    command = [world.lab.compiled("responder"), world.root / "ws", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as responder:
        try:
            if responder.stdout.readline() != b"ready\n":
                raise RuntimeError("the trivial responder does not start")
            return measure()
        finally:
            end(responder)


def warm(lab: Lab, pairs: int) -> Iterator[Row]:
    with World(lab) as world:
        opens = Opens(world)
        file = world.root / "ws/work/file"
        file.write_bytes(b"nothing secret" * 300)
        arguments = ("warm", WARM, file)
        samples = alternate(
            pairs,
            alone=lambda: opens.alone(*arguments),
            guarded=lambda: opens.guarded(*arguments),
            answered=lambda: opens.answered(*arguments),
        )
    what = "open+close of a warm unlabelled file"
    yield Row(what, "us", samples["guarded"], samples["alone"], "<= 1.20")
    yield Row("  the trivial responder", "us", samples["answered"], samples["alone"])


def touch(lab: Lab, pairs: int) -> Iterator[Row]:
    with World(lab) as world:
        opens = Opens(world)
        files = world.root / "ws/work/files"
        files.mkdir()
        opens.run("create", FILES, files)
        yield from beside("first touch of 5,000 files", pairs, opens, lambda one: one("touch", FILES, files))


def create(lab: Lab, pairs: int) -> Iterator[Row]:
    with World(lab) as world:
        files = world.root / "ws/work/files"

        def fresh(run: Callable[..., float]) -> float:
            files.mkdir()
            taken = run("create", FILES, files)
            shutil.rmtree(files)
            return taken

        yield from beside("open-write-close of 5,000 new files", pairs, Opens(world), fresh)


def beside(what: str, pairs: int, opens: Opens, measure: Callable[..., float]) -> Iterator[Row]:
    """The agent and the trivial responder, each against nobody, and against each other."""
    samples = alternate(
        pairs,
        alone=lambda: measure(opens.alone),
        guarded=lambda: measure(opens.guarded),
        answered=lambda: measure(opens.answered),
    )
    yield Row(what, "us", samples["guarded"], samples["alone"])
    yield Row("  the trivial responder", "us", samples["answered"], samples["alone"])
    yield Row("  agent against responder", "us", samples["guarded"], samples["answered"], "<= 1.5 x the responder")


def tree(lab: Lab, pairs: int) -> Iterator[Row]:
    yield from work(lab, pairs, "untar + cp -r + read of 3,000 files", "", "<= 1.5")


def carried(lab: Lab, pairs: int) -> Iterator[Row]:
    yield from work(lab, pairs, "the same while another program has a master open", "", "", held=True)


@contextlib.contextmanager
def holding(world: World, master: Path) -> Iterator[None]:
    """Somebody has a master open, and so carries its label."""
    command = ["sh", "-c", 'exec 3<"$0"; exec sleep 600', master]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
        try:
            wait_until("open master", 10, lambda: Path(f"/proc/{one.pid}/fd/3").exists())
            yield
        finally:
            end(one)


def batch(lab: Lab, pairs: int) -> Iterator[Row]:
    need("convert-im6.q16", "imagemagick-6.q16")
    resize = 'for m in masters/*.jpg; do convert-im6.q16 "$m" -resize 1600x1600 "work/${m#masters/}"; done; '
    yield from work(lab, pairs, "the same with 8 masters resized in it", resize, "<= 1.10")


def work(lab: Lab, pairs: int, what: str, between: str, target: str, held: bool = False) -> Iterator[Row]:
    with World(lab) as world:
        archive = tree_of(lab)
        files = world.copy(pictures.large(MASTERS), "ws/masters")
        masters = len(files)
        # The index is there before the first pair, as it is on any other day.
        world.start(masters)
        world.stop()
        script = f"set -e; tar -xf {archive} -C work; {between}cp -r work/usr work/copy; "
        script += "find work/copy -type f -exec cat {} + >/dev/null"

        def once() -> float:
            subprocess.run(["sync", "-f", world.root / "ws"], check=True)
            taken = spend(["sh", "-c", script], cwd=world.root / "ws").seconds
            subprocess.run("rm -rf work/*", shell=True, check=True, cwd=world.root / "ws")
            return taken

        def guarded() -> float:
            world.start(masters)
            try:
                with holding(world, files[0]) if held else contextlib.nullcontext():
                    return once()
            finally:
                world.stop()

        once()
        samples = alternate(pairs, alone=once, guarded=guarded, answered=lambda: answered(world, once))
    yield Row(what, "s", samples["guarded"], samples["alone"], target)
    yield Row("  the trivial responder", "s", samples["answered"], samples["alone"])


def tree_of(lab: Lab) -> Path:
    """A tar file with some 3,000 real files."""
    archive = lab.root / "tree.tar"
    if not archive.exists():
        found = [path for root in ROOTS for path in sorted(Path(root).rglob("*"))]
        files = [path for path in found if path.is_file() and not path.is_symlink()]
        chosen = files[:: max(1, len(files) // TREE)][:TREE]
        listing = lab.root / "tree.list"
        listing.write_text("".join(f"{path}\n" for path in chosen))
        subprocess.run(["tar", "-cf", archive, "--files-from", listing], check=True, stderr=subprocess.DEVNULL)
    return archive


def denied(lab: Lab, pairs: int) -> Iterator[Row]:
    with World(lab) as world:
        opens = Opens(world)
        (master, vault) = pictures.large(2)
        world.copy([master], "ws/masters")
        world.copy([vault], "ws/vault")
        world.start(2)
        allowed, refused = world.root / "ws/masters" / master.name, world.root / "ws/vault" / vault.name
        samples = alternate(
            pairs,
            allowed=lambda: opens.run("warm", DENIED, allowed),
            denied=lambda: opens.run("warm", DENIED, refused),
            piped=lambda: opens.piped("warm", DENIED, allowed),
        )
    yield Row("open of a master, refused against allowed", "us", samples["denied"], samples["allowed"])
    yield Row("  allowed, output to a pipe against to a file", "us", samples["piped"], samples["allowed"])
