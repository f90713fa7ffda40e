"""What sinks cost who sends records: throughput and acknowledgement with and without them."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator

import ingest
from sample import Row, alternate, wait_until
from serving import Collector
from world import Lab

AGENTS = 4
RECORDS = 10_000
PATIENCE = 60


def sinks(lab: Lab, pairs: int) -> Iterator[Row]:
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
        with Collector(lab, config=configs[name]) as collector:
            workstations = collector.enrol(AGENTS)
            loads = [ingest.packed(lab, ingest.bodies(one, RECORDS // AGENTS)) for one in workstations]
            seconds, taken = ingest.deliver(workstations, loads)
            if name == "file":
                file, began = collector.data / "all.ndjson", time.monotonic()
                there = lambda: file.exists() and file.read_bytes().count(b"\n") >= RECORDS  # noqa: E731
                wait_until("all records in the file", PATIENCE, there)
                caught.append(time.monotonic() - began)
        late[name].append(taken[math.ceil(0.99 * len(taken)) - 1] * 1e3)
        return RECORDS / seconds

    with stuck:
        rates = alternate(pairs, none=lambda: rate("none"), file=lambda: rate("file"), stuck=lambda: rate("stuck"))
    yield Row("records taken in, with a file sink", "/s", rates["file"], rates["none"], target="no slower")
    yield Row("  with a sink that takes nothing", "/s", rates["stuck"], rates["none"], target="no slower")
    yield Row("  99th percentile of the answers, with a file sink", "ms", late["file"], late["none"])
    yield Row("  with a sink that takes nothing", "ms", late["stuck"], late["none"])
    yield Row("  until the file has the last record", "s", caught)
