"""A collector of fifty thousand workstations, and of many millions of records."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sqlite3
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Process

import ingest
from sample import Row, wait_until
from serving import Client, Collector, Workstation
from world import Lab

FLEET = 50_000
# That many of them are there; of the others the collector has heard before.
PRESENT = 200
# Of the fleet a heartbeat each in so many seconds: what was measured for the design, and the agent's default.
EVERY = (300, 30)
PACED = 20
# Records for `lists`.
MANY = int(os.environ.get("VITRINE_BENCH_RECORDS", 1_000_000))
SENDERS = 8
ASKED = 40
# Seconds that lists may take to catch up with all records.
PATIENCE = 3600


def heartbeats(lab: Lab, pairs: int) -> Iterator[Row]:
    with Collector(lab) as collector:
        workstations = collector.enrol(PRESENT)
        for workstation in workstations:
            beat(workstation)
            workstation.close()
        known(collector)
        idle = share(collector, lambda: time.sleep(PACED))
        yield Row(f"{FLEET:,} workstations known, none heard: of a core", "%", [idle * 100])
        for every in EVERY:
            asked = math.ceil(FLEET / every)
            for fresh in (True, False):
                rate, used = paced(collector, workstations, asked, fresh)
                kind = "each on a new connection" if fresh else "on open connections"
                what = f"a heartbeat of each in {every} s ({asked:,}/s), {kind}: of a core"
                yield Row(what, "%", [used * 100], target="< 15 %" if every == EVERY[0] else "")
                yield Row("  of these, a second", "", [rate])
        yield Row("  peak memory of the collector", "MiB", [collector.peak()])


def paced(collector: Collector, workstations: list[Workstation], rate: int, fresh: bool) -> tuple[float, float]:
    """Heartbeats at a rate for a while, or as near to it as this machine comes; gives those of a second, and the share
    of a processor that the collector took."""
    began, count = time.monotonic(), 0

    def go(number: int) -> int:
        done = 0
        while (at := began + (done * PRESENT + number) / rate) < began + PACED and time.monotonic() < began + PACED:
            time.sleep(max(0.0, at - time.monotonic()))
            beat(workstations[number])
            if fresh:
                workstations[number].close()
            done += 1
        time.sleep(max(0.0, began + PACED - time.monotonic()))
        return done

    def all_of_them() -> None:
        nonlocal count
        with ThreadPoolExecutor(PRESENT) as pool:
            count = sum(pool.map(go, range(PRESENT)))

    used = share(collector, all_of_them)
    for workstation in workstations:
        workstation.close()
    return count / PACED, used


def beat(workstation: Workstation) -> None:
    said = {
        "agent": workstation.id, "host": workstation.name, "agent_version": "0.1.0", "guard": "gate", "mode": "enforce",
        "policy": "5f" * 32, "policy_serial": 12, "policy_source": "collector", "takes_policies": True,
        "spool_depth": 0, "last_sequence": 0, "time": int(time.time() * 1000), "heartbeat_seconds": EVERY[0],
    }  # fmt: skip
    workstation.ask("POST", "/v1/heartbeat", json.dumps(said).encode(), **{"Content-Type": "application/json"})


def share(collector: Collector, work: Callable[[], None]) -> float:
    """What the collector took of a processor while something was done."""
    spent, began = collector.processor(), time.monotonic()
    work()
    return (collector.processor() - spent) / (time.monotonic() - began)


def known(collector: Collector) -> None:
    """The rest of the fleet, as if all of it had been heard of just now."""
    with contextlib.closing(sqlite3.connect(collector.data / "collector.db", timeout=30)) as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(agents)") if row[1] not in ("number", "id", "host")]
        rows = ((str(uuid.UUID(int=number + 1)), f"scan-{number:05}") for number in range(PRESENT, FLEET))
        same = ", ".join(names)
        model = f"SELECT ?, ?, {same} FROM agents WHERE number = 1"
        database.executemany(f"INSERT INTO agents (id, host, {same}) {model}", rows)
        database.commit()


def lists(lab: Lab, pairs: int) -> Iterator[Row]:
    with Collector(lab) as collector:
        console, reader = session(lab, collector), collector.reader()
        workstations, began = collector.enrol(SENDERS), time.monotonic()
        # Two processes make them up, so that they are not what is waited for.
        makers = [Process(target=fill, args=(workstations[half::2],)) for half in range(2)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
            if maker.exitcode:
                raise RuntimeError("not all records were taken")
        yield Row(f"{MANY:,} records taken in", "/s", [MANY / (time.monotonic() - began)])
        alerts = {
            "alerts, in the API": (reader, "/v1/alerts?limit=50"),
            "alerts": (console, "/"),
            "alerts, all states, of one user": (console, "/?state=all&user=user7"),
            "alerts with a word": (console, "/?q=rsync"),
            "alerts of a host": (console, "/?host=scan-00003"),
        }
        for name, (client, path) in alerts.items():
            yield page(name, client, path)
        began = time.monotonic()
        wait_until("record in lists and search", PATIENCE, lambda: ingest.summed(collector.data) >= MANY, 1)
        yield Row("  in lists and search after", "s", [time.monotonic() - began])
        for client in (reader, console):
            client.connection.close()  # Nobody has asked meanwhile, and they open anew.
        stored = sum(file.stat().st_size for file in collector.data.iterdir() if file.name.startswith("collector.db"))
        yield Row("  on the disk, each record", "bytes", [stored / MANY])
        pages = {
            "objects": (console, "/objects"),
            "objects by a word": (console, "/objects?q=K2B_0042"),
            "search": (console, "/search?q=K2B_004242"),
            "search, a frequent word": (console, "/search?q=website"),
            "hosts": (console, "/hosts"),
        }
        for name, (client, path) in pages.items():
            yield page(name, client, path)
        first = json.loads(reader.ask("GET", "/v1/alerts?limit=1"))["alerts"][0]["id"]
        yield page("one alert", console, f"/alerts/{first}")
        yield Row("  peak memory of the collector", "MiB", [collector.peak()])


def page(name: str, client: Client, path: str) -> Row:
    taken = []
    for _ in range(ASKED):
        began = time.monotonic()
        client.ask("GET", path)
        taken.append((time.monotonic() - began) * 1e3)
    p95 = sorted(taken)[math.ceil(0.95 * ASKED) - 1]
    return Row(f"  {name}, p95 {p95:.3g} ms", "ms", taken, target="p95 <= 100" if name.startswith("alerts") else "")


def fill(workstations: list[Workstation]) -> None:
    """In turns, as they come in."""
    each, step = MANY // SENDERS, 1_000
    for first in range(1, each + 1, step):
        for workstation in workstations:
            for body in ingest.bodies(workstation, min(step, each + 1 - first), 500, first):
                workstation.send(body)


def session(lab: Lab, collector: Collector) -> Client:
    """Sets the console up, as whoever starts it for the first time; gives what its pages are asked with."""
    token = re.search(r"/setup\?token=([0-9a-f]+)", (lab.root / "collector.log").read_text())
    if not token:
        raise RuntimeError("the collector says no token to set it up with")
    password = "correct horse battery staple of a bench"
    form = {"token": token[1], "name": "bench", "password": password, "repeated": password}
    stranger = Client(collector.address, collector.trust(), {"Content-Type": "application/x-www-form-urlencoded"})
    stranger.connection.request("POST", "/setup", urllib.parse.urlencode(form), stranger.headers)
    answer = stranger.connection.getresponse()
    answer.read()
    cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
    stranger.close()
    if answer.status != 303 or not cookie:
        raise RuntimeError(f"POST /setup: {answer.status}")
    return Client(collector.address, collector.trust(), {"Cookie": cookie})
