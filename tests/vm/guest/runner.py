"""Runs the scripts in the guest, one after the other, and has told what came of each.

Never reads a file or a pipe that a script has written: it would carry what the script carried, and so would
all that it starts later. What must read that is a process of its own, which ends (`apart`).
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Callable

import port
import records
import relay
import restore
import sink_scan
from lab import COLLECTED, COLLECTOR, CONFIG, LAB, RUN, STATE, VITRINE, VM, WITNESS

CGROUP = Path("/sys/fs/cgroup/script")
STAFF = 1000
SETTLED = 30
ENVIRONMENT = {
    "PATH": "/with:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "MASTERS": "/srv/scans/masters",
    "WORK": "/srv/scans/work",
    "INBOX": "/home/staff/resize/in",
    "USB": "/media/staff/usb",
    "SYNC": "/home/staff/Nextcloud",
    "FUSE": "/media/staff/fuse",
    "RAW": "/dev/vde",
    "APPROVED_HOST": "203.0.113.10",
    "APPROVED_HOST6": "2001:db8:a::10",
    "APPROVED_NAME": "cms.museum.example",
    "PRIVATE_HOST": "198.51.100.20",
    "PRIVATE_HOST6": "2001:db8:b::20",
    "PRIVATE_NAME": "drop.example.net",
    "PORT_HTTP": "80",
    "PORT_SSH": "22",
    "PORT_TCP": "9000",
    "PORT_UDP": "9000",
    "PORT_SCTP": "9001",
    "PORT_VSOCK": "9002",
}


class GuestError(Exception):
    """Why the guest cannot do its work."""


def wait_until(what: str, seconds: float, check: Callable[[], object]) -> object:
    end = time.monotonic() + seconds
    while not (answer := check()):
        if time.monotonic() > end:
            raise GuestError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.1)
    return answer


class Service:
    """A program in the background, with its output in a file."""

    def __init__(self, name: str, command: list[object]):
        self.name = name
        self.log = RUN / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def said(self, pattern: str) -> re.Match | None:
        text = self.log.read_text(errors="replace")
        if self.process.poll() is not None:
            raise GuestError(f"the {self.name} ended with status {self.process.returncode}:\n{text}")
        return re.search(pattern, text, re.M)


class Collector:
    """The collector of this one workstation."""

    def __init__(self) -> None:
        self.service = Service("collector", [VM / "bin/vitrine-collector", "serve", "--no-tls", "--data", COLLECTED, "--listen", COLLECTOR])

    def token(self, name: str, role: str) -> str:
        """Has it make a token, once it listens."""
        wait_until("the collector listens", 60, lambda: self.service.said(re.escape(COLLECTOR)))
        command = [VM / "bin/vitrine-collector", "token", "create", "--data", COLLECTED, "--name", name, "--role", role]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise GuestError(f"no token could be made: {made.stderr}")
        return max(made.stdout.split(), key=len) + "\n"


class Agent:
    """The agent, with the guard that was asked for."""

    def __init__(self, collector: Collector) -> None:
        policy = CONFIG.with_name("policy.toml")
        shutil.copy(VM / "policy.toml", policy)
        checked = subprocess.run([VITRINE, "policy", "check", policy], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            raise GuestError(f"the policy is not valid:\n{checked.stdout}{checked.stderr}")
        token = CONFIG.with_name("token")
        token.touch(mode=0o600)
        token.write_text(collector.token("guest", "agent"))
        (RUN / "reader").write_text(collector.token("runner", "reader"))
        CONFIG.write_text(f'policy = "{policy}"\nstate = "{STATE}"\nguard = "{LAB["guard"]}"\n{self.shield()}\n'
                          f'[collector]\nurl = "http://{COLLECTOR}"\ntoken-file = "{token}"\nheartbeat-seconds = 2\n')
        self.start()

    def shield(self) -> str:
        """The settings of the shield, with a key that tokens are signed with."""
        if LAB["shield"] == "off":
            return ""
        key = CONFIG.with_name("maintenance")
        subprocess.run([VITRINE, "policy", "keygen", "--unencrypted", "--out", key], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        return f'shield = "{LAB["shield"]}"\nmaintenance-key = "{key}.pub"\n'

    def start(self) -> None:
        self.service = Service("agent", [VITRINE, "run", "--config", CONFIG])
        guarding = wait_until("the agent guards", 120, lambda: self.service.said(r"^guarding with (\w+).*$"))
        if guarding[1] != LAB["guard"]:
            raise GuestError(f"the agent does not guard with {LAB['guard']}:\n{self.service.log.read_text(errors='replace')}")
        try:
            self.wait_for_index()
        except GuestError as error:
            raise GuestError(f"{error}; the agent says:\n{self.service.log.read_text(errors='replace')}") from error

    def wait_for_index(self) -> None:
        wait_until(f"all {LAB['masters']} masters are indexed", 120, lambda: self.has_indexed(self.status()))

    def has_indexed(self, status: dict) -> bool:
        return status.get("masters", 0) >= LAB["masters"] and status.get("pending") == 0 and bool(status.get("scanned"))

    def status(self) -> dict:
        """What the agent wrote of itself; only the agent writes that file."""
        self.service.said("")
        try:
            return json.loads((STATE / "status.json").read_text())
        except (OSError, ValueError):
            return {}

    def settle(self) -> None:
        """Waits until nothing is measured and every record has been delivered. The agent writes its status within
        half a second of a change. One that was ended or killed is started again, as a service manager would."""
        if self.service.process.poll() in (0, -signal.SIGKILL):
            self.start()
        time.sleep(0.6)

        earlier = None

        def is_settled() -> bool:
            """Twice in a row, with nothing recorded between: a busy machine may come late to what the kernel told."""
            nonlocal earlier
            status, before = self.status(), earlier
            is_idle = status.get("measuring") == 0 and status.get("pending") == 0 and status.get("spool_depth") == 0
            earlier = status.get("last_sequence") if is_idle else None
            if is_idle and earlier == before:
                return True
            time.sleep(0.4)
            return False

        try:
            wait_until("the agent is done", SETTLED, is_settled)
        except GuestError as error:
            status = self.status()
            counts = {name: status.get(name) for name in ["measuring", "pending", "spool_depth", "collector_contact"]}
            port.tell("warning", text=f"{error}: {json.dumps(counts)}")


def apart(work: Callable[..., None], *words: object) -> None:
    """Does it in a process of its own. A fork, because an emulated processor starts Python slowly."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(*words)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise GuestError(f"{work.__module__} ended with status {os.waitstatus_to_exitcode(status)}")


class FuseDisk:
    """A file system in a program of the user's own, which a script may have ended."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None

    def mount(self) -> None:
        if self.process and self.process.poll() is None and self.is_mounted():
            return
        if self.process:
            self.process.kill()
            subprocess.run(["umount", "--lazy", ENVIRONMENT["FUSE"]], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        command = ["bindfs", "-f", "--no-allow-other", "/var/sinks/fuse", ENVIRONMENT["FUSE"]]
        self.process = subprocess.Popen(command, user=STAFF, group=STAFF, extra_groups=[], stdin=subprocess.DEVNULL)
        wait_until("the FUSE file system is mounted", 20, self.is_mounted)

    def is_mounted(self) -> bool:
        return f" {ENVIRONMENT['FUSE']} fuse" in Path("/proc/mounts").read_text()


def run_script(path: Path) -> int:
    """Runs it in a session and a control group of its own, and ends all that it started that is still there
    after its first process has ended; the exit status, as a shell has it."""
    program = path.read_bytes()
    of_its_head = re.search(rb"^# as: (root|staff)$", program.split(b"\n\n")[0], re.M)
    as_root = (of_its_head[1].decode() if of_its_head else LAB["as"]) == "root"
    name, home = ("root", "/root") if as_root else ("staff", "/home/staff")
    user = {} if as_root else {"user": STAFF, "group": STAFF, "extra_groups": []}
    environment = {**ENVIRONMENT, "HOME": home, "USER": name, "LOGNAME": name}
    has_interpreter = program.startswith((b"\x7fELF", b"#!"))
    command = [path] if has_interpreter else ["/bin/bash", path]
    CGROUP.mkdir(exist_ok=True)
    with open(RUN / "output", "wb") as output, open(CGROUP / "cgroup.procs", "w", encoding="ascii", buffering=1) as members:
        started = subprocess.Popen(command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=output, umask=0o022,
                                   start_new_session=True, preexec_fn=lambda: members.write("0\n"), **user)
    try:
        code = started.wait(LAB["timeout"])
        return 128 - code if code < 0 else code
    except subprocess.TimeoutExpired:
        return 124
    finally:
        if started.poll() is None:
            end_script()
            started.wait()


def end_script() -> None:
    (CGROUP / "cgroup.kill").write_text("1")
    wait_until("the script's processes end", 10, lambda: "populated 0" in (CGROUP / "cgroup.events").read_text())


def play(path: Path, agent: Agent | None) -> None:
    apart(sink_scan.note)
    code = run_script(path)
    if agent:
        agent.settle()
    else:
        time.sleep(0.5)
    end_script()
    apart(relay.relay, RUN / "output")
    apart(sink_scan.tell_new)
    if agent:
        apart(records.tell)
    port.tell("exit", code=code)


def main() -> None:
    port.tell("up")
    collector = Collector() if LAB["guard"] != "none" else None
    fuse = FuseDisk()
    fuse.mount()
    for sign in ["approved.serves", "private.serves", "approved.ready", "private.ready"]:
        wait_until(f"the hosts are up ({sign})", 60, (RUN / sign).exists)
    agent = Agent(collector) if collector else None
    if agent:
        apart(records.skip)
    scripts = sorted((VM / "scripts").iterdir())
    for number, directory in enumerate(scripts):
        path = next(directory.iterdir())
        if len(scripts) > 1:
            os.environ[port.SCRIPT] = path.name
        if number:
            apart(restore.restore)
            fuse.mount()
            if agent and restore.MADE.exists():
                agent.settle()
        play(path, agent)
    os.environ.pop(port.SCRIPT, None)
    port.tell("done")


if __name__ == "__main__":
    if os.path.realpath(sys.executable) != str(WITNESS):
        shutil.copy(os.path.realpath(sys.executable), WITNESS)
        os.execv(WITNESS, [str(WITNESS), *sys.argv])
    os.environ[port.FD] = str(os.open(port.NAME, os.O_WRONLY))
    try:
        main()
    except Exception as error:  # Whatever it is, the host must hear of it: nobody else would.
        port.tell("failed", text=f"{type(error).__name__}: {error}")
