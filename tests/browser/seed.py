"""Gives a collector what an agent would send: pictures of a master and a copy, attempts of every outcome, and a line that
is no record. With `more` behind the token, one attempt more."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

URL, TOKEN = sys.argv[1:3]
NOW = int(time.time() * 1000)
NONE = "0" * 64


def call(method: str, path: str, body: bytes) -> str:
    request = urllib.request.Request(URL + path, data=body, method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def picture(size: str) -> str:
    """Sends a picture; gives its digest, which the refusal of a wrong one tells."""
    command = ["convert", "-size", size, "-seed", "3", "plasma:tan-saddlebrown", "-quality", "70", "jpg:-"]
    jpeg = subprocess.run(command, capture_output=True, check=True).stdout
    told = re.search(r"BLAKE3 ([0-9a-f]{64})", call("PUT", f"/v1/evidence/{NONE}", jpeg))
    if told is None:
        raise RuntimeError("the collector did not tell the digest of a picture")
    call("PUT", f"/v1/evidence/{told[1]}", jpeg)
    return told[1]


MASTER, COPY = picture("420x560"), picture("300x400")


def process(pid: int, name: str, command: str) -> dict:
    return {"pid": pid, "name": name, "path": f"/usr/bin/{name}", "command_line": command}


def transfer(user: str, program: str, disposition: str, to: str, target: str, file: str, tier: str, attempts: int) -> dict:
    recognised = {"kind": "derivative", "scale": 0.7, "coverage": 0.93, "score": 0.98}
    master = {"path": "/srv/scans/masters/K2B_0012.tif", "collection": "masters", "object": "K2B", "thumbnail": MASTER}
    return {
        "kind": "transfer",
        "operation": "write",
        "verdict": "allow" if disposition == "allowed" else "block",
        "disposition": disposition,
        "rule": {"kind": "ceiling", "destination": to},
        "explanation": f"The file is of tier {tier}, which is more than {to} may receive.",
        "mode": "enforce",
        "policy": "5f" * 32,
        "guard": "gate",
        "processes": [process(4112, program, f"{program} {file} {target}"), process(4080, "bash", "-bash")],
        "user": {"uid": 1004, "name": user},
        "file": {"path": f"/home/{user}/out/{file}", "digest": "ab" * 32, "bytes": 8411204, "thumbnail": COPY},
        "masters": [master | {"recognised": recognised, "sent": 0.41}],
        "tier": tier,
        "origin": "measured",
        "measure": {"megapixels": 14.2, "scale": 0.7, "bit_depth": 8},
        "destination": {"name": to, "target": target, "ceiling": "public", "bytes_arrived": 0},
        "attempts": attempts,
    }


def line(sequence: int, event: dict) -> str:
    host = {"agent": "0198c0de-0000-7000-8000-000000000001", "name": "scan-07", "agent_version": "0.1.0"}
    identity = {"version": 1, "id": str(uuid.uuid4()), "sequence": sequence, "time": NOW - (10 - sequence) * 90_000}
    return json.dumps({"unmapped": {"vitrine": identity | {"host": host, "event": event}}})


def of_master(event: dict, path: str, **more: object) -> dict:
    """The same of another master, without its picture."""
    master = {"path": path, "collection": "albums", "object": None, "thumbnail": None}
    return event | {"masters": [master | more]}


LONG = "a name that goes on and on/" * 5
EVENTS = [
    transfer("wen", "cp", "blocked", "courier disk", "/media/courier/K2B_0012.tif", "K2B_0012.tif", "master", 1),
    transfer("mei", "curl", "blocked", "website", "cms.museum.example:443", "寒食帖_web.jpg", "licensed", 14),
    transfer("wen", "scp", "would-block", "elsewhere", "198.51.100.7:22", "K2B_0012_small.jpg", "licensed", 1),
    transfer("lin", "firefox", "failed", "elsewhere", "drive.example:443", "K2B_0012-crop.png", "master", 3),
    transfer("mei", "rsync", "allowed", "archive", "/mnt/archive/K2B_0012.tif", "K2B_0012.tif", "master", 1),
    transfer("wen", "gimp", "quarantined", "courier disk", f"/media/courier/{LONG}x.tif", "x.tif", "master", 1),
    of_master(
        transfer("mei", "magick", "allowed", "website", "/srv/web/upload/album.jpg", "album.jpg", "public", 1),
        f"/srv/scans/albums/<b>/=1+1/{LONG}album 12.tif",
        recognised={"kind": "derivative", "scale": 0.4, "coverage": 1.0, "score": 0.98},
    ),
    of_master(transfer("lin", "zip", "allowed", "archive", "/mnt/archive/a.zip", "a.zip", "master", 1), "/srv/scans/寒食帖.tif"),
]
if sys.argv[3:] == ["more"]:
    LATER = transfer("kai", "cp", "blocked", "courier disk", "/media/courier/K2B_0099.tif", "K2B_0099.tif", "master", 1)
    print(call("POST", "/v1/records", line(len(EVENTS) + 1, LATER).encode()))
    raise SystemExit
BODY = "\n".join([*(line(number, event) for number, event in enumerate(EVENTS, 1)), "<b>no record</b>"])
ANSWER = json.loads(call("POST", "/v1/records", BODY.encode()))
if ANSWER.get("committed") != len(EVENTS) or len(ANSWER.get("rejected", [])) != 1:
    raise SystemExit(f"the records were not taken: {ANSWER}")
HEARTBEAT = {
    "agent": "0198c0de-0000-7000-8000-000000000001", "host": "scan-07", "agent_version": "0.1.0", "guard": "gate",
    "mode": "enforce", "policy": "5f" * 32, "policy_serial": 12, "spool_depth": 3, "last_sequence": len(EVENTS),
    "time": NOW + 90_000, "index": {"version": 7, "masters": 41_212},
}  # fmt: skip
if "committed" not in json.loads(call("POST", "/v1/heartbeat", json.dumps(HEARTBEAT).encode())):
    raise SystemExit("the heartbeat was not taken")


def ask(nth: int, file: str, path: str, reason: str) -> None:
    """Asks for a second person's approval."""
    request = {
        "agent": "0198c0de-0000-7000-8000-000000000001",
        "id": f"{nth:032x}",
        "user": {"uid": 1004, "name": "wen"},
        "file": f"/home/wen/out/{file}",
        "digest": "ab" * 32,
        "thumbnail": COPY,
        "masters": [{"path": path, "collection": "masters", "content": None, "thumbnail": MASTER}],
        "tier": "licensed",
        "destination": "courier disk",
        "target": f"/media/courier/{file}",
        "reason": reason,
        "window": 900_000,
        "asked": NOW,
        "lasts": 86_400,
    }
    answer = call("PUT", f"/v1/approvals/{nth:032x}", json.dumps({"request": request, "left": 86_400}).encode())
    if json.loads(answer).get("state") != "pending":
        raise SystemExit(f"the request was not taken: {answer}")


ask(1, "K2B_0012.jpg", "/srv/scans/masters/K2B_0012.tif", "loan 14, agreed with the registrar")
ask(2, "K2B_0012_<b>.jpg", f"/srv/scans/masters/{LONG}K2B_0012.tif", "寒食帖: for the printer's proof, as he has no line")
