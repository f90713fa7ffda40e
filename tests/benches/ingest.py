"""What the collector takes in: records of many agents, and what each costs its writer and the disk."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from sample import Row
from world import Lab

AGENTS = 8
RECORDS = 40_000
BATCH = 50
MASTERS = 5_000
USERS = 40
# How long lists may take to catch up, in seconds.
PATIENCE = 120
PROGRAMS = ("cp", "rsync", "gimp", "magick", "curl", "scp")
DESTINATIONS = ("website", "archive", "courier disk", "elsewhere")


def ingest(lab: Lab, pairs: int) -> Iterator[Row]:
    """One run; two programs are compared by two runs with another `--bin`."""
    program = lab.program("vitrine-collector", "vitrine-collector")
    data = lab.root / "ingest"
    tokens = [made(program, data, f"scan-{number:02}") for number in range(AGENTS)]
    with open(lab.root / "said", "w+") as said:
        command = [program, "serve", "--no-tls", "--data", data, "--listen", "127.0.0.1:0"]
        serving = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
        try:
            address = listening(lab.root / "said")
            loads = [bodies(number) for number in range(AGENTS)]
            before, began = writer(serving.pid), time.monotonic()
            taken: list[float] = []
            senders = [threading.Thread(target=send, args=(address, *one, taken)) for one in zip(tokens, loads)]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            seconds, spent = time.monotonic() - began, writer(serving.pid) - before
            early, began = summed(data), time.monotonic()
            while summed(data) < RECORDS and time.monotonic() - began < PATIENCE:
                time.sleep(0.2)
            late, whole = time.monotonic() - began, writer(serving.pid) - before
            if summed(data) < RECORDS:
                raise RuntimeError(f"{summed(data)} of {RECORDS} records were summed up in {PATIENCE} s")
        finally:
            serving.terminate()
            serving.wait()
    if len(taken) != RECORDS // BATCH:
        raise RuntimeError(f"{len(taken)} of {RECORDS // BATCH} batches were taken")
    taken.sort()
    stored = sum(file.stat().st_size for file in data.iterdir() if file.name.startswith("collector.db"))
    yield Row(f"{RECORDS:,} records in batches of {BATCH}, {AGENTS} agents", "/s", [RECORDS / seconds])
    yield Row("  processor time of the writer, each record", "us", [spent / RECORDS * 1e6])
    yield Row("  acknowledged, 99th percentile", "ms", [taken[int(len(taken) * 0.99) - 1] * 1e3])
    yield Row("  on the disk, each record", "bytes", [stored / RECORDS])
    yield Row("  in lists and search by then", "%", [early / RECORDS * 100])
    yield Row("  until all are", "s", [late])
    yield Row("  processor time of the writer with that", "us", [whole / RECORDS * 1e6])


def made(program: Path, data: Path, name: str) -> str:
    command = [program, "token", "create", "--data", data, "--name", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def listening(said: Path) -> str:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for line in said.read_text().splitlines():
            if line.startswith("listening on "):
                return line.removeprefix("listening on http://")
        time.sleep(0.02)
    raise RuntimeError("the collector does not listen")


def summed(data: Path) -> int:
    """How far the lists of masters and the search are behind the records, which they follow."""
    with contextlib.closing(sqlite3.connect(f"file:{data}/collector.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT upto FROM summed").fetchone()[0]


def writer(pid: int) -> float:
    """Seconds of processor time of the thread that writes (proc_pid_stat(5))."""
    ticks = os.sysconf("SC_CLK_TCK")
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "store writer":
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / ticks
    raise RuntimeError("the collector has no writer")


def send(address: str, token: str, load: list[bytes], taken: list[float]) -> None:
    connection = http.client.HTTPConnection(address)
    for body in load:
        began = time.monotonic()
        connection.request("POST", "/v1/records", body, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or json.loads(text)["rejected"]:
            raise RuntimeError(f"POST /v1/records: {answer.status} {text[:300]!r}")
        taken.append(time.monotonic() - began)
    connection.close()


def bodies(agent: int) -> list[bytes]:
    chance = random.Random(agent)
    host = {"agent": str(uuid.UUID(int=agent + 1)), "name": f"scan-{agent:02}", "agent_version": "0.1.0"}
    lines = [line(chance, host, number) for number in range(1, RECORDS // AGENTS + 1)]
    return ["\n".join(lines[at : at + BATCH]).encode() for at in range(0, len(lines), BATCH)]


def line(chance: random.Random, host: dict, sequence: int) -> str:
    scan = chance.randrange(MASTERS)
    master = f"/srv/scans/masters/{scan // 100:03}/K2B_{scan:06}.tif"
    user, program, to = f"user{chance.randrange(USERS)}", chance.choice(PROGRAMS), chance.choice(DESTINATIONS)
    file, refused = f"/home/{user}/out/{chance.randrange(10**6)}_web.jpg", chance.random() < 0.05
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
