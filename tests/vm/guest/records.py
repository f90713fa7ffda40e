"""Tells the host what the agent recorded. Runs in processes that end, as does everything that reads what was made
from masters."""

import json
import subprocess
import urllib.request
from pathlib import Path

import port
from lab import COLLECTOR, CONFIG, RUN, VITRINE

POSITION = RUN / "position"

AS_THEY_ARE = ["operation", "verdict", "disposition", "mode", "user", "tier", "origin", "file", "masters", "destination", "explanation", "attempts",
               "code", "message", "subject"]


def flat(event: dict) -> dict:
    """The fields that tests ask for most; the event itself follows them."""
    first = next(iter(event.get("processes") or []), None)
    program = {"program": first["path"], "program_name": first["name"], "pid": first["pid"]} if first else {}
    return {"event_kind": event["kind"], **program, **{name: event[name] for name in AS_THEY_ARE if name in event}, "event": event}


def read(after: int) -> list[dict]:
    shown = subprocess.run([VITRINE, "events", "--json", "--config", CONFIG, "--since", str(after)],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=True)
    return [json.loads(line)["unmapped"] for line in shown.stdout.splitlines()]


def compare_with_collector(found: list[dict]) -> None:
    """What the agent calls delivered, the collector must hold."""
    sent = max((record["vitrine"]["sequence"] for record in found if record["delivered"]), default=0)
    request = urllib.request.Request(f"http://{COLLECTOR}/v1/hosts", headers={"Authorization": f"Bearer {(RUN / 'reader').read_text().strip()}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        hosts = json.load(answer)["hosts"]
    held = max((host["last_sequence"] for host in hosts), default=0)
    late = sum(not record["delivered"] for record in found)
    if held < sent or late:
        port.tell("warning", text=f"the collector holds records up to {held}; the agent sent up to {sent}, and {late} wait")


def news() -> list[dict]:
    """What was recorded since the last call."""
    after = int(POSITION.read_text()) if POSITION.exists() else 0
    found = read(after)
    POSITION.write_text(str(max((record["position"] for record in found), default=after)))
    return found


def skip() -> None:
    """Passes over what is there."""
    news()


def tell() -> None:
    """Tells what has come since."""
    found = news()
    for record in found:
        port.tell("record", position=record["position"], delivered=record["delivered"], **flat(record["vitrine"]["event"]))
    compare_with_collector(found)
