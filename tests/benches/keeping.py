"""Keeping the masters known: races, bursts, and what 100,000 of them cost."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pictures
from sample import Row, spend, wait_until
from world import Lab, World

RACES = 500
BURST = 30_000
MASTERS = 100_000
IDLE = 30
# How long all may take until they are known, in seconds.
PATIENCE = {"race": 60, "burst": 600}


def race(lab: Lab, pairs: int) -> Iterator[Row]:
    """One try shows whether any is lost; `pairs` is for what is compared."""
    tiles = tiles_of(RACES)
    with World(lab) as world:
        world.start()
        began = time.monotonic()
        # In a process of its own, because who makes masters is nobody whose files we want to read later.
        maker = "import os, sys\nfor number, tile in enumerate(sys.argv[2:]):\n" \
            "    data = open(tile, 'rb').read(); top = f'{sys.argv[1]}/{number}'\n" \
            "    os.mkdir(top); os.mkdir(f'{top}/e'); open(f'{top}/e/f.jpg', 'wb').write(data)\n"
        subprocess.run(["python3", "-c", maker, world.root / "ws/masters", *tiles], check=True)
        known = settled(world, RACES, PATIENCE["race"])
        seconds = time.monotonic() - began
        indexed = count_in_index(world)
    yield Row("race of mkdir, mkdir, create: 500 files known", "", [known], target="500 of 500")
    yield Row("  in the index", "", [indexed])
    yield Row("  until they are known", "s", [seconds])


def burst(lab: Lab, pairs: int) -> Iterator[Row]:
    tiles = pictures.tiny(BURST)
    with World(lab, inodes=100_000) as world:
        alone = spend(["cp", "-r", tiles, world.root / "ws/work/burst"]).seconds
        world.start()
        before = world.memory("VmRSS")
        began = time.monotonic()
        dropped = spend(["cp", "-r", tiles, world.root / "ws/masters/burst"]).seconds
        known = settled(world, BURST, PATIENCE["burst"])
        seconds = time.monotonic() - began
        peak, after = world.memory("VmHWM"), world.memory("VmRSS")
        counters = dict(world.status()["counters"])
        indexed = count_in_index(world)
    yield Row("30,000 tiny pictures at once: known", "", [known], target="all fingerprinted")
    yield Row("  in the index", "", [indexed])
    yield Row("  cp of them into the collection", "s", [dropped], [alone])
    yield Row("  until they are known", "s", [seconds])
    yield Row("  peak memory of the agent (before: without)", "MiB", [peak], [before])
    yield Row("  its memory afterwards", "MiB", [after])
    counters.pop("started", None)
    failures = ", ".join(f"{count} {code}" for code, count in counters.items()) or "none"
    yield Row(f"  failures counted: {failures}", "", [sum(counters.values())])


def memory(lab: Lab, pairs: int) -> Iterator[Row]:
    fill = lab.program("examples/bench_masters", "e2e")
    with World(lab, inodes=130_000) as world:
        index = world.root / "state/index.db"
        subprocess.run([fill, str(MASTERS), world.root / "ws/masters", index, *tiles_of(RACES)], check=True)
        began = time.monotonic()
        world.start(MASTERS)
        seconds = time.monotonic() - began
        # The first scan is over; what it needed is given back, or is not.
        time.sleep(3)
        resident, peak = world.memory("VmRSS"), world.memory("VmHWM")
        before = world.ticks()
        time.sleep(IDLE)
        ticks = world.ticks() - before
        pinned = kernel_memory()
        world.stop()
        pinned -= kernel_memory()
    yield Row("agent with 100,000 masters: resident memory", "MiB", [resident], target="<= 128 MiB")
    yield Row("  at most since its start", "MiB", [peak])
    yield Row("  kernel memory that its marks hold, each master", "bytes", [pinned // MASTERS])
    yield Row("  started and scanned in", "s", [seconds])
    yield Row(f"  clock ticks (10 ms) in {IDLE} s of idleness", "", [ticks], target="0 in top: below 15 in 30 s")


def kernel_memory() -> int:
    """Bytes in the kernel's own structures (`Slab` of proc_meminfo(5)) that it cannot give back: names and inodes
    that nobody holds are dropped first (proc_sys_vm(5))."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("2")
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Slab:")) * 1024


def tiles_of(count: int) -> list[Path]:
    return sorted(pictures.tiny(BURST).iterdir())[:: BURST // count][:count]


def settled(world: World, wanted: int, patience: float) -> int:
    """The number of masters, once it is what is wanted or nothing has changed for ten seconds."""
    last, since = None, time.monotonic()

    def done() -> bool:
        nonlocal last, since
        status = world.status()
        now = (status["masters"], status["pending"])
        if now != last:
            last, since = now, time.monotonic()
        return now == (wanted, 0) or time.monotonic() - since > 10

    wait_until("end of the reading", patience, done)
    return last[0]


def count_in_index(world: World) -> int:
    """What the index holds, asked once nobody writes to it."""
    world.stop()
    command = [world.lab.program("vitrine"), "index", "stats", "--json", "--index", world.root / "state/index.db"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["masters"]
