"""The measurements of tests/benches/guard/run, in the guest, as root: with the guard and without it in turn.

Prints one JSON object for each number. Uses only short commands of its own, so that nothing is tainted.
"""

import itertools
import json
import os
import pwd
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Callable

CONFIG = Path("/etc/vitrine/agent.toml")
VITRINE = "/vm/bin/vitrine"
LOG = Path("/run/agent.log")
READER = Path("/run/vm/reader")
STAFF = pwd.getpwnam("staff")
HOME = Path(STAFF.pw_dir)
ROOM = HOME / "bench"
VAULT = sorted(Path(os.environ["MASTERS"]).glob("*.tif"))[0]
FREE = HOME / "notes" / "plain.txt"
PICTURE = HOME / "Pictures" / "holiday.jpg"
LABELS = Path("/sys/fs/bpf/vitrine/maps/labels")
POLICY = Path("/etc/vitrine/policy.toml")
CGROUP = Path("/sys/fs/cgroup/bench")
# One directory for each tree, and none is removed: ext4 avoids the inodes of files that were removed a moment ago, and
# looks for others the longer, the more of them there are.
ROOMS = (ROOM / str(number) for number in itertools.count())


def tell(name: str, guarded: bool | None, value: float) -> None:
    print(json.dumps({"name": name, "guarded": guarded, "value": value}), flush=True)


def staff(*command: object) -> str:
    """What a command of the ordinary user prints. By way of a file: who reads a pipe carries what is in it."""
    answer = Path("/run/answer")
    CGROUP.mkdir(exist_ok=True)
    with open(answer, "wb") as out, open(CGROUP / "cgroup.procs", "w", encoding="ascii", buffering=1) as members:
        subprocess.run([str(word) for word in command], user=STAFF.pw_uid, group=STAFF.pw_gid, extra_groups=[], cwd=HOME,
                       stdin=subprocess.DEVNULL, stdout=out, check=True, preexec_fn=lambda: members.write("0\n"))
    return answer.read_text()


def worked(*command: object) -> float:
    """Processor time of a command and all that it starts, in the kernel too: what waits for a disk is no work."""
    def used() -> int:
        return int(re.search(r"^usage_usec (\d+)$", (CGROUP / "cpu.stat").read_text(), re.M)[1])

    CGROUP.mkdir(exist_ok=True)
    before = used()
    staff(*command)
    return (used() - before) / 1e6


class Agent:
    """An agent of our own; the runner's was ended."""

    def __init__(self) -> None:
        began = time.monotonic()
        with open(LOG, "wb") as log:
            self.process = subprocess.Popen([VITRINE, "run", "--config", CONFIG], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not re.search(r"^guarding with flow", LOG.read_text(errors="replace"), re.M):
            if self.process.poll() is not None or time.monotonic() - began > 60:
                sys.exit(f"the agent does not guard: {LOG.read_text(errors='replace')}")
            time.sleep(0.01)
        self.took = time.monotonic() - began
        loaded, filled, attached = map(int, re.search(r"took \[(\d+), (\d+), (\d+)\] ms", LOG.read_text()).groups())
        self.parts = {"to load and verify": loaded, "to fill the maps": filled, "to attach and look at what runs": attached}

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def detach() -> None:
    subprocess.run([VITRINE, "run", "--detach-guards"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def steady(command: Callable[[], str]) -> float:
    """The median of three: the first one finds the caches cold. Nothing is left to be written meanwhile."""
    took = []
    for _ in range(3):
        os.sync()
        took.append(worked("sh", "-c", command()))
    return statistics.median(took)


def measure(guarded: bool) -> None:
    middle, slow = map(float, staff("micro", "open", 20000, FREE).split())
    tell("warm open and close, median (ns)", guarded, middle)
    tell("warm open and close, p99 (ns)", guarded, slow)
    tell("pipe, 1 byte there and back (ns)", guarded, float(staff("micro", "pipe", 5000)))
    tell("loopback TCP (MiB/s)", guarded, float(staff("micro", "tcp", 64)))
    tell("untar, cp -r and read (processor s)", guarded, steady(tree))
    batch = f"for size in 200 300 400; do convert {PICTURE} -resize $size {ROOM}/$size.jpg || exit; done"
    tell("batch of ImageMagick (processor s)", guarded, steady(lambda: batch))


def tree() -> str:
    room = next(ROOMS)
    return f"mkdir {room} && tar xf {HOME}/tree.tar -C {room} && cp -r {room}/tree {room}/copy && cat {room}/copy/*/* >/dev/null"


def besiege(agent: Agent) -> Agent:
    """A million tries at the vault while the policy is read again a hundred times and the agent is killed twenty times."""
    tries = [subprocess.Popen(["micro", "vault", "500000", str(VAULT)], user=STAFF.pw_uid, group=STAFF.pw_gid, extra_groups=[],
                              stdin=subprocess.DEVNULL, stdout=open(f"/run/tries.{number}", "wb")) for number in range(2)]
    text = POLICY.read_text()
    reloads = kills = 0
    while reloads < 100 or kills < 20 or any(one.poll() is None for one in tries):
        POLICY.write_text(f"{text}\n# {reloads}\n")
        reloads += 1
        time.sleep(0.6)
        if reloads % 5 == 0 and kills < 20:
            agent.kill()
            agent = Agent()
            kills += 1
    POLICY.write_text(text)
    opened = sum(int(Path(f"/run/tries.{number}").read_text()) for number in range(2))
    tell("policy reloads meanwhile", None, reloads)
    tell("agents killed meanwhile", None, kills)
    tell("vault opened, of 1000000 tries", None, opened)
    return agent


def last_record() -> int:
    """The number of the last record that the collector holds."""
    request = urllib.request.Request("http://127.0.0.1:8470/v1/hosts", headers={"Authorization": f"Bearer {READER.read_text().strip()}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return max((host["last_sequence"] for host in json.load(answer)["hosts"]), default=0)


def alarm(number: int) -> None:
    """How long after a refused write the collector has the record of it."""
    before = last_record()
    scan = next(Path(os.environ["WORK"]).glob("*.tif"))
    copy = subprocess.Popen(["cp", scan, f"{os.environ['USB']}/bench.{number}"], user=STAFF.pw_uid, group=STAFF.pw_gid, extra_groups=[],
                            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    copy.wait()
    began = time.monotonic()
    while last_record() == before and time.monotonic() - began < 10:
        time.sleep(0.01)
    tell("refused write to record at the collector (s)", True, time.monotonic() - began)


def prepare() -> None:
    FREE.parent.mkdir()
    FREE.write_text("free\n")
    tree = HOME / "tree"
    for directory in range(20):
        (tree / str(directory)).mkdir(parents=True)
        for file in range(20):
            (tree / str(directory) / str(file)).write_bytes(os.urandom(4096))
    subprocess.run(["tar", "cf", HOME / "tree.tar", "-C", HOME, "tree"], stdin=subprocess.DEVNULL, check=True)
    ROOM.mkdir()
    subprocess.run(["chown", "-R", "staff:staff", HOME / "tree.tar", FREE, ROOM], check=True)


def main() -> None:
    pairs, sieges = int(sys.argv[1]), int(sys.argv[2])
    prepare()
    subprocess.run(["pkill", "-KILL", "-x", "vitrine"], check=False)
    detach()
    staff("sh", "-c", f"convert {PICTURE} null: && tar tf {HOME}/tree.tar >/dev/null")
    for number in range(pairs):
        detach()
        measure(False)
        agent = Agent()
        tell("agent started to enforcing (s)", True, agent.took)
        for part, milliseconds in agent.parts.items():
            tell(f"  of that {part} (s)", True, milliseconds / 1000)
        # The index is read again at a start: what is measured is a workstation at rest.
        time.sleep(5)
        measure(True)
        tell("denied open, median (ns)", True, float(staff("micro", "open", 5000, VAULT).split()[0]))
        labels = subprocess.run(["micro", "labels", "100000", LABELS], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
        tell("map of 100,000 labels (MiB)", True, int(labels.stdout) / (1 << 20))
        for attempt in range(10):
            alarm(number * 10 + attempt)
        if number == pairs - 1 and sieges:
            agent = besiege(agent)
        agent.kill()


main()
