"""A picture that was found somewhere, traced among the masters of all workstations."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pictures
from fleet import session
from sample import Row, spend
from serving import Client, Collector
from world import Lab

# Masters with made-up features beside the real ones. A million of them take 12 GB in TMPDIR.
MADE_UP = int(os.environ.get("VITRINE_BENCH_MASTERS", 20_000))
REAL = 12
ASKED = 7
WORKSTATIONS = 100
BOUNDARY = "vitrine-bench-boundary"


def trace(lab: Lab, pairs: int) -> Iterator[Row]:
    fill = lab.program("examples/index_scale", "vitrine-fingerprint")
    data, real = lab.root / "collector", pictures.large(REAL)
    queries = {
        "a copy of 900 px": (["thumbnail", "900"], 3),
        "a quarter of one, at 600 px": (["crop", "1500", "1000", "3000", "2000"], 5),
        "a foreign picture": (["thumbnail", "900"], REAL),
    }
    for name, (change, number) in queries.items():
        source, made = pictures.large(REAL + 1)[number], lab.root / f"{number}.jpg"
        pictures.vips(change[0], str(source), f"{made}[Q=80]", *change[1:])
        queries[name] = (made, number)
    with Collector(lab, data=data) as collector:
        console = session(lab, collector)
        # Its tables.
        wait_for_masters(console)
    (data / "masters" / "index.db").unlink()
    shutil.rmtree(data / "masters" / "index.db-postings", ignore_errors=True)
    began = time.monotonic()
    spend([fill, str(MADE_UP), data / "masters", *real])
    yield Row(f"index of {MADE_UP + REAL:,} masters made", "s", [time.monotonic() - began])
    held(data / "masters")
    began = time.monotonic()
    with Collector(lab, data=data) as collector:
        console = Client(collector.address, collector.trust(), console.headers)
        wait_for_masters(console)
        yield Row("  opened by the collector", "s", [time.monotonic() - began])
        for name, (file, number) in queries.items():
            taken = []
            for _ in range(ASKED):
                began = time.monotonic()
                page = asked(console, file)
                taken.append(time.monotonic() - began)
                if (f">/srv/scans/{number + 1}.tif<" in page) != (number < REAL):
                    raise RuntimeError(f"{name} was traced to something else")
            yield Row(f"  on the page, {name}: first", "s", taken[:1])
            yield Row(f"  on the page, {name}: then", "s", taken[1:], target="<= 1 s")
        yield Row("  peak memory of the collector", "MiB", [collector.peak()])
        file = next(iter(queries.values()))[0]
        command = [collector.program, "trace", file, "--data", data]
        seconds = []
        for _ in range(ASKED):
            began = time.monotonic()
            # Exit status 1 says that masters were found.
            if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 1:
                raise RuntimeError("the command found nothing")
            seconds.append(time.monotonic() - began)
        yield Row("  by the command, which opens the index first", "s", seconds)
    shutil.rmtree(data)


def wait_for_masters(console: Client) -> None:
    deadline = time.monotonic() + 900
    while "being opened" in console.ask("GET", "/trace").decode():
        if time.monotonic() > deadline:
            raise RuntimeError("the masters are not opened within 15 minutes")
        time.sleep(0.05)


def held(masters: Path) -> None:
    """Says of every master in the index who has it."""
    with contextlib.closing(sqlite3.connect(masters / "files.db")) as files:
        files.create_function("unhex", 1, bytes.fromhex)
        files.execute("ATTACH ? AS made", [str(masters / "index.db")])
        for number in range(WORKSTATIONS):
            files.execute("INSERT INTO agent VALUES (?, ?, 0, 0)", [number + 1, str(uuid.UUID(int=number + 1))])
        files.execute(
            "INSERT INTO file SELECT id % ? + 1, '/srv/scans/' || id || '.tif', 'masters', object, unhex(ltrim(path, '/')), 1"
            " FROM made.master",
            [WORKSTATIONS],
        )
        files.execute("UPDATE agent SET masters = (SELECT count(*) FROM file WHERE agent = agent.number)")
        files.commit()


def asked(console: Client, file: Path) -> str:
    csrf = re.search(r'name="csrf" value="([^"]+)"', console.ask("GET", "/trace").decode())
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name='
    body = f'{head}"csrf"\r\n\r\n{csrf[1]}\r\n{head}"file"; filename="found.jpg"\r\n\r\n'.encode()
    body += file.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Sec-Fetch-Site": "same-origin"}
    return console.ask("POST", "/trace", body, **kind).decode()
