"""From the refused system call to the alert that the collector's API shows."""

from __future__ import annotations

import http.client
import json
import math
import shutil
import subprocess
import time
from collections.abc import Iterator

import pictures
from sample import Row
from world import Lab, World

COPIES = 50
EVERY = 0.005
PATIENCE = 15


def latency(lab: Lab, pairs: int) -> Iterator[Row]:
    with World(lab) as world:
        (master,) = world.copy(pictures.large(1), "ws/masters")
        token = world.start_collector()
        world.start(1)
        api = http.client.HTTPConnection(world.url.removeprefix("http://"))
        taken = []
        for number in range(COPIES):
            # Another program makes another alert.
            program = lab.root / f"copy-{number:02}"
            shutil.copy(lab.compiled("opens"), program)
            target = world.root / f"usb/copy-{number:02}.jpg"
            with (lab.root / "copied").open("w+b") as output:
                subprocess.run([program, "copy", master, target], check=True, stdout=output)
                output.seek(0)
                at, errno = map(int, output.read().split())
            if errno == 0:
                raise RuntimeError("the copy was not refused")
            deadline = time.monotonic() + PATIENCE
            while not shows(api, token, program.name):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no alert for {program.name} within {PATIENCE} s")
                time.sleep(EVERY)
            taken.append(time.time() * 1e3 - at / 1e3)
        api.close()
    taken.sort()
    yield Row("refused open to alert in the API, 50 times", "ms", taken, target="median and p99 are told")
    yield Row("  99th percentile", "ms", [taken[math.ceil(0.99 * len(taken)) - 1]])


def shows(api: http.client.HTTPConnection, token: str, program: str) -> bool:
    api.request("GET", "/v1/alerts?limit=5", headers={"Authorization": f"Bearer {token}"})
    answer = api.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"GET /v1/alerts: {answer.status} {body[:200]!r}")
    return any(alert["program"] == program for alert in json.loads(body)["alerts"])
