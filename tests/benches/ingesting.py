"""What sinks cost who sends records: throughput and acknowledgement with and without them."""

from __future__ import annotations

import http.client
import json
import math
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from sample import Row, alternate
from world import Lab, end, wait_until

AGENTS = 4
BATCHES = 25
RECORDS = 100
PATIENCE = 60


def sinks(lab: Lab, pairs: int) -> Iterator[Row]:
    bodies = [[body(agent, batch) for batch in range(BATCHES)] for agent in range(AGENTS)]
    late: dict[str, list[float]] = {"none": [], "file": [], "stuck": []}
    caught: list[float] = []
    # Takes connections, as far as the system does that for it, and never reads.
    stuck = socket.create_server(("127.0.0.1", 0))
    configs = {
        "none": "",
        "file": '[[sink]]\nkind = "file"\nname = "all"\npath = "all.ndjson"\n',
        "stuck": '[[sink]]\nkind = "syslog"\nname = "all"\ntransport = "tcp"\n'
        f'server = "127.0.0.1:{stuck.getsockname()[1]}"\n',
    }

    def rate(name: str) -> float:
        with Collector(lab, configs[name]) as collector:
            began = time.monotonic()
            taken = collector.send(bodies)
            seconds = time.monotonic() - began
            if name == "file":
                lines = AGENTS * BATCHES * RECORDS
                wait_until("all records in the file", PATIENCE, lambda: collector.lines() >= lines or None)
                caught.append(time.monotonic() - began - seconds)
        late[name].append(sorted(taken)[math.ceil(0.99 * len(taken)) - 1])
        return AGENTS * BATCHES * RECORDS / seconds

    with stuck:
        rates = alternate(
            pairs, none=lambda: rate("none"), file=lambda: rate("file"), stuck=lambda: rate("stuck")
        )
    yield Row("records taken in, with a file sink", "1/s", rates["file"], rates["none"], target="no slower")
    yield Row("  with a sink that takes nothing", "1/s", rates["stuck"], rates["none"], target="no slower")
    yield Row("  99th percentile of the answers, with a file sink", "ms", late["file"], late["none"])
    yield Row("  with a sink that takes nothing", "ms", late["stuck"], late["none"])
    yield Row("  until the file has the last record", "s", caught)


class Collector:
    """One that starts with nothing, and what it has is gone afterwards."""

    def __init__(self, lab: Lab, config: str) -> None:
        self.data = lab.root / "collector"
        self.data.mkdir(mode=0o700)
        (self.data / "collector.toml").write_text(config)
        program = lab.program("vitrine-collector", "vitrine-collector")
        self.tokens = []
        for agent in range(AGENTS):
            command = [program, "token", "create", "--name", f"a{agent}", "--data", self.data]
            self.tokens.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
        log = self.data / "log"
        with log.open("wb") as output:
            command = [program, "serve", "--no-tls", "--listen", "127.0.0.1:0", "--data", self.data]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def address() -> str | None:
            found = [line for line in log.read_text().splitlines() if line.startswith("listening on ")]
            return found[0].split("//")[1] if found else None

        self.address = wait_until("address of the collector", PATIENCE, address)

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        shutil.rmtree(self.data)

    def send(self, bodies: list[list[bytes]]) -> list[float]:
        """Sends every agent's batches, one after another; gives how long each answer took, in milliseconds."""
        taken: list[float] = []

        def agent(number: int) -> None:
            connection = http.client.HTTPConnection(self.address)
            headers = {"Authorization": f"Bearer {self.tokens[number]}"}
            for batch in bodies[number]:
                began = time.monotonic()
                connection.request("POST", "/v1/records", batch, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or json.loads(text)["rejected"]:
                    raise RuntimeError(f"POST /v1/records: {answer.status} {text[:200]!r}")
                taken.append((time.monotonic() - began) * 1e3)

        threads = [threading.Thread(target=agent, args=(number,)) for number in range(AGENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(taken) != AGENTS * BATCHES:
            raise RuntimeError(f"{len(taken)} batches of {AGENTS * BATCHES} were taken")
        return taken

    def lines(self) -> int:
        file: Path = self.data / "all.ndjson"
        return file.read_bytes().count(b"\n") if file.exists() else 0


def body(agent: int, batch: int) -> bytes:
    first = batch * RECORDS + 1
    return b"".join(json.dumps(record(agent, number)).encode() + b"\n" for number in range(first, first + RECORDS))


def record(agent: int, sequence: int) -> dict[str, object]:
    """Every tenth one is a copy that was refused."""
    refused = sequence % 10 == 0
    path = f"/srv/scans/masters/K2B_{sequence:06}.tif"
    event = {
        "kind": "transfer",
        "operation": "write",
        "verdict": "block" if refused else "allow",
        "disposition": "blocked" if refused else "allowed",
        "rule": {"kind": "ceiling", "destination": "courier disk"},
        "explanation": f"The file {path} is of tier master, and courier disk may receive up to licensed. " * 4,
        "mode": "enforce",
        "policy": "5f" * 32,
        "guard": "gate",
        "processes": [{"pid": sequence, "name": "cp", "path": "/usr/bin/cp", "command_line": f"cp {path} /media/courier/"}],
        "user": {"uid": 1004, "name": "wen", "session": 3},
        "file": {"path": path, "digest": f"{sequence:064x}", "bytes": 84_112_004, "thumbnail": None},
        "masters": [{"path": path, "collection": "masters", "object": "K2B", "thumbnail": None, "recognised": None}],
        "tier": "master",
        "origin": "measured",
        "measure": {"megapixels": 28.0, "scale": 1.0, "bit_depth": 16},
        "destination": {
            "name": "courier disk", "target": f"/media/courier/K2B_{sequence:06}.tif", "ceiling": "licensed", "bytes_arrived": 0,
        },
        "attempts": 1,
    }
    host = {"agent": str(uuid.UUID(int=agent + 1)), "name": f"scan-{agent:02}", "agent_version": "0.1.0"}
    vitrine = {
        "version": 1, "id": str(uuid.UUID(int=(agent + 1) << 64 | sequence)), "sequence": sequence,
        "time": 1_795_348_800_000 + sequence * 1000, "host": host, "event": event,
    }
    return {"unmapped": {"vitrine": vitrine}}
