"""The collector and the agent of the lab: started, waited for, asked, stopped."""

import ctypes
import json
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Callable

from world import LabError, World

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Runs in a child before its program: a lab that is killed leaves nobody behind (prctl(2))."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(what: str, seconds: float, check: Callable[[], object]) -> object:
    """Asks until the answer is true and gives it back."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.05)


class Service:
    """One program in the background, with its output in a file: a pipe from a process that read a master
    would make its reader a carrier of that master."""

    def __init__(self, name: str, command: list[str], log: Path):
        self.name = name
        self.out = log / f"{name}.out"
        self.err = log / f"{name}.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=die_with_parent)

    def said(self, pattern: str) -> re.Match | None:
        """What it has printed, once that matches."""
        if self.process.poll() is not None:
            raise LabError(f"the {self.name} ended with status {self.process.returncode}: {self.last_words()}")
        return re.search(pattern, self.out.read_text(errors="replace") + "\n" + self.err.read_text(errors="replace"), re.M)

    def last_words(self) -> str:
        return " / ".join((self.err.read_text(errors="replace") or self.out.read_text(errors="replace")).splitlines()[-5:])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Centre:
    """The collector."""

    def __init__(self, world: World, program: Path):
        self.world = world
        self.program = program
        self.service = Service("collector", [str(program), "serve", "--no-tls", "--data", str(world.data), "--listen", "127.0.0.1:0"], world.log)
        found = wait_until("the collector says where it listens", 30, lambda: self.service.said(r"https?://(127\.0\.0\.1:[1-9]\d*)"))
        self.url = f"http://{found.group(1)}"
        wait_until("the collector answers", 30, self.answers)
        self.reader = self.token("lab console", "reader")

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def token(self, name: str, role: str) -> str:
        """Has the collector make a token; it prints it once."""
        command = [str(self.program), "token", "create", "--data", str(self.world.data), "--name", name, "--role", role]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        words = done.stdout.split()
        if done.returncode != 0 or not words:
            raise LabError(f"no token could be made: {done.stderr.strip()}")
        return max(words, key=len)

    def alerts(self) -> list[dict]:
        request = urllib.request.Request(f"{self.url}/v1/alerts?limit=1000&state=all", headers={"Authorization": f"Bearer {self.reader}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["alerts"]

    def setup_line(self) -> str:
        """What it printed for the person who opens the console first."""
        lines = (self.service.out.read_text() + self.service.err.read_text()).splitlines()
        return next((line.strip() for line in lines if re.search(r"set-?up", line, re.I)), "")


class Agent:
    """The agent on the workstation."""

    def __init__(self, world: World, program: Path, centre: Centre):
        self.world = world
        self.program = program
        token = world.root / "agent.token"
        token.touch(mode=0o600)
        token.write_text(centre.token("lab workstation", "agent") + "\n")
        world.config.write_text(
            f'policy = "{world.policy}"\nstate = "{world.state}"\nguard = "{world.guard}"\n\n'
            f'[collector]\nurl = "{centre.url}"\ntoken-file = "{token}"\nheartbeat-seconds = 5\n'
        )
        self.service = Service("agent", [str(program), "run", "--config", str(world.config)], world.log)
        self.guarding = wait_until("the agent enforces", 30, lambda: self.service.said(r"^guarding with (\w+).*$"))
        if self.guarding.group(1) != world.guard:
            raise LabError(f"the agent does not guard with {world.guard}: {self.guarding.group(0)}")

    def ask(self, *words: str) -> str:
        """Asks the agent's own command line. The answer comes by way of a file, see Service."""
        path = self.world.log / "answer"
        with open(path, "wb") as out:
            command = [str(self.program), *words, "--config", str(self.world.config), "--json"]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, check=False)
        return path.read_text()

    def status(self) -> dict:
        self.service.said("")
        try:
            return json.loads(self.ask("status"))
        except ValueError:
            return {}

    def wait_for_index(self) -> None:
        count = len(self.world.scans) + len(self.world.sealed)

        def indexed() -> bool:
            status = self.status()
            return status.get("masters") == count and status.get("pending") == 0 and bool(status.get("scanned"))

        wait_until(f"all {count} masters are indexed", 120, indexed)

    def wait_for_measurements(self) -> None:
        """What was written has been measured: nothing waits for it, seen twice with a look between."""
        for _ in range(2):
            written = time.time()

            def measured() -> bool:
                state = self.world.state / "status.json"
                fresh = not state.exists() or state.stat().st_mtime > written
                return fresh and self.status().get("measuring", 0) == 0 and not self.workers()

            wait_until("the new files are measured", 60, measured)

    def workers(self) -> bool:
        """Whether a process of the agent's own reads a picture now."""
        tasks = Path(f"/proc/{self.service.process.pid}/task").glob("*/children")
        return any(task.read_text().strip() for task in tasks)

    def transfers(self) -> list[dict]:
        """The records of transfers, oldest first."""
        found = []
        for line in self.ask("events").splitlines():
            record = json.loads(line)["unmapped"]["vitrine"]
            if record["event"]["kind"] == "transfer":
                found.append(record["event"])
        return found
