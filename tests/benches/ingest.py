"""What the collector takes in over TLS: records of many workstations, and what each costs its writer and the disk."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sample import Missing, Row, wait_until
from serving import Client, Collector, Workstation
from world import Lab, need

AGENTS = 8
RECORDS = 40_000
BATCH = 50
MASTERS = 5_000
USERS = 40
# How long lists may take to catch up, in seconds.
PATIENCE = 120
PROGRAMS = ("cp", "rsync", "gimp", "magick", "curl", "scp")
DESTINATIONS = ("website", "archive", "courier disk", "elsewhere")


def sqlite(lab: Lab, pairs: int) -> Iterator[Row]:
    """One run; two programs are compared by two runs with another `--bin`."""
    with Collector(lab) as collector:
        rows, spent = taken_in(lab, collector, "SQLite")
        yield from rows
        yield Row("  processor time of the writer, each record", "us", [spent / RECORDS * 1e6])
        before, early, began = collector.writer(), summed(collector.data), time.monotonic()
        wait_until("record in lists and search", PATIENCE, lambda: summed(collector.data) >= RECORDS, 0.2)
        late = time.monotonic() - began
        stored = sum(file.stat().st_size for file in collector.data.iterdir() if file.name.startswith("collector.db"))
        yield Row("  on the disk, each record", "bytes", [stored / RECORDS])
        yield Row("  in lists and search by then", "%", [early / RECORDS * 100])
        yield Row("  until all are", "s", [late])
        yield Row("  processor time of the writer for that", "us", [(collector.writer() - before) / RECORDS * 1e6])


def postgres(lab: Lab, pairs: int) -> Iterator[Row]:
    database = os.environ.get("VITRINE_TEST_POSTGRES")
    if not database:
        raise Missing("a PostgreSQL: tests/postgres tests/benches/run ingest-postgres")
    with Collector(lab, database=f"{database}/postgres") as collector:
        rows, _ = taken_in(lab, collector, "PostgreSQL")
        yield from rows


def taken_in(lab: Lab, collector: Collector, name: str) -> tuple[list[Row], float]:
    """Sends all records; gives what that took, and processor time of SQLite's writer."""
    *workstations, probe = collector.enrol(AGENTS + 1)
    loads = [packed(lab, bodies(workstation, RECORDS // AGENTS)) for workstation in workstations]
    wire = sum(len(body) for load in loads for body in load)
    written = collector.writer() if name == "SQLite" else 0.0
    spent = collector.processor()
    with Probing(probe, collector.reader()) as probing:
        took, taken = deliver(workstations, loads)
    spent = collector.processor() - spent
    written = collector.writer() - written if name == "SQLite" else 0.0
    rows = [
        Row(f"{name}: {RECORDS:,} records in batches of {BATCH}", "/s", [RECORDS / took]),
        Row("  acknowledged, median", "ms", [taken[len(taken) // 2] * 1e3]),
        Row("  acknowledged, 99th percentile", "ms", [taken[int(len(taken) * 0.99) - 1] * 1e3]),
        Row(f"  meanwhile a record to its alert in the API, {len(probing.taken)} times", "ms", probing.taken, target="p95 <= 2 s"),
        Row("  on the wire, each record", "bytes", [wire / RECORDS]),
        Row("  processor time of the collector, each record", "us", [spent / RECORDS * 1e6]),
        Row("  its peak memory", "MiB", [collector.peak()]),
    ]
    return rows, written


class Probing:
    """One more workstation, which sends a refused transfer of a new user and asks for its alert, again and again."""

    def __init__(self, workstation: Workstation, reader: Client) -> None:
        self.workstation, self.reader = workstation, reader
        self.taken: list[float] = []
        self.is_over = threading.Event()
        self.pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Probing:
        self.running = self.pool.submit(self.probe)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.running.result()
        self.pool.shutdown()
        self.workstation.close()
        self.reader.close()

    def probe(self) -> None:
        chance = random.Random(0)
        host = {"agent": self.workstation.id, "name": self.workstation.name, "agent_version": "0.1.0"}
        while not self.is_over.wait(0.05):
            number = len(self.taken) + 1
            body = line(chance, host, number, user=f"probe{number}", refused=True).encode()
            began = time.monotonic()
            self.workstation.send(body)
            wait_until("alert of a probe", PATIENCE, lambda: self.is_shown(f"probe{number}"), 0.01)
            self.taken.append((time.monotonic() - began) * 1e3)

    def is_shown(self, user: str) -> bool:
        return any(alert["user"] == user for alert in json.loads(self.reader.ask("GET", "/v1/alerts?limit=100"))["alerts"])


def deliver(workstations: list[Workstation], loads: list[list[bytes]]) -> tuple[float, list[float]]:
    """All workstations at once send their batches, one after another; gives the seconds that they took, and those
    of every answer in order."""
    taken: list[float] = []

    def send(workstation: Workstation, load: list[bytes]) -> None:
        for body in load:
            began = time.monotonic()
            workstation.send(body, **{"Content-Encoding": "zstd"})
            taken.append(time.monotonic() - began)
        workstation.close()

    began = time.monotonic()
    with ThreadPoolExecutor(len(workstations)) as pool:
        list(pool.map(send, workstations, loads))
    return time.monotonic() - began, sorted(taken)


def packed(lab: Lab, bodies: list[bytes]) -> list[bytes]:
    """As agents send them."""
    room = lab.root / "packed"
    room.mkdir()
    for number, body in enumerate(bodies):
        (room / f"{number:06}").write_bytes(body)
    subprocess.run([need("zstd", "zstd"), "-q", "-3", "--rm", "-r", room], check=True)
    load = [path.read_bytes() for path in sorted(room.iterdir())]
    shutil.rmtree(room)
    return load


def summed(data: Path) -> int:
    """How far the lists of masters and the search are behind the records, which they follow."""
    with contextlib.closing(sqlite3.connect(f"file:{data}/collector.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT upto FROM summed").fetchone()[0]


def bodies(workstation: Workstation, count: int, batch: int = BATCH, first: int = 1) -> list[bytes]:
    chance = random.Random(f"{workstation.id} {first}")
    host = {"agent": workstation.id, "name": workstation.name, "agent_version": "0.1.0"}
    lines = [line(chance, host, number) for number in range(first, first + count)]
    return ["\n".join(lines[at : at + batch]).encode() for at in range(0, len(lines), batch)]


def line(chance: random.Random, host: dict, sequence: int, user: str | None = None, refused: bool | None = None) -> str:
    scan = chance.randrange(MASTERS)
    master = f"/srv/scans/masters/{scan // 100:03}/K2B_{scan:06}.tif"
    user = user or f"user{chance.randrange(USERS)}"
    program, to = chance.choice(PROGRAMS), chance.choice(DESTINATIONS)
    file = f"/home/{user}/out/{chance.randrange(10**6)}_web.jpg"
    refused = chance.random() < 0.05 if refused is None else refused
    process = {"pid": 4112, "name": program, "path": f"/usr/bin/{program}", "command_line": f"{program} {file}"}
    event = {
        "kind": "transfer",
        "operation": "write",
        "verdict": "block" if refused else "allow",
        "disposition": "blocked" if refused else "allowed",
        "rule": {"kind": "ceiling", "destination": to},
        "explanation": f"The file is of tier licensed, and {to} may receive up to that.",
        "mode": "enforce",
        "policy": "5f" * 32,
        "guard": "gate",
        "processes": [process],
        "user": {"uid": 1004, "name": user},
        "file": {"path": file, "digest": chance.randbytes(32).hex(), "bytes": 8411204, "thumbnail": None},
        "masters": [
            {
                "path": master,
                "collection": "masters",
                "object": f"K2B{scan}",
                "thumbnail": None,
                "recognised": {"kind": "derivative", "scale": 0.7, "coverage": chance.random(), "score": 0.98},
                "sent": None if refused else chance.random(),
            }
        ],
        "tier": "licensed",
        "origin": "measured",
        "measure": {"megapixels": 14.2, "scale": 0.7, "bit_depth": 8},
        "destination": {"name": to, "target": f"/mnt/{to}/{scan}.jpg", "ceiling": "licensed", "bytes_arrived": 0},
        "attempts": 1,
    }
    identity = {"version": 1, "id": str(uuid.UUID(int=chance.getrandbits(128))), "sequence": sequence}
    identity["time"] = int(time.time() * 1000)
    return json.dumps({"unmapped": {"vitrine": identity | {"host": host, "event": event}}})
