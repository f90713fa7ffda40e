"""A workstation with a disk of its own, a USB disk, an agent and a collector. The disks are loop devices in
a mount namespace of the harness's own, so that nothing outside is guarded, slowed down or left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sample import Missing, wait_until

INSIDE = "VITRINE_BENCH_INSIDE"
HERE = Path(__file__).resolve().parent
# How long an agent may take to know its masters, in seconds; the largest index is opened in a few.
PATIENCE = 60


def enter_namespace() -> None:
    """Starts this program again in a mount namespace of its own, and takes other people's loop and network
    disks out of it: the agent guards every such disk that it sees."""
    if INSIDE not in os.environ:
        unshare = ["unshare", "--mount", "--propagation", "private", "--"]
        os.execvpe(unshare[0], [*unshare, sys.executable, *sys.argv], {**os.environ, INSIDE: str(os.getpid())})
    for mount in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
        before, _, behind = mount.partition(" - ")
        kind, source = behind.split(" ")[:2]
        if source.startswith(("/dev/loop", "/dev/nbd")) or kind.startswith(("nfs", "cifs", "fuse", "9p")):
            point = before.split(" ")[4].encode().decode("unicode_escape")
            subprocess.run(["umount", "--lazy", point], check=False, stderr=subprocess.DEVNULL)


class Lab:
    """Where everything lies that a run makes; gone when it ends."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.root = Path(tempfile.mkdtemp(prefix="vitrine-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")))

    def close(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def program(self, name: str, package: str = "vitrine-agent") -> Path:
        """One of the programs under test."""
        found = self.binaries / name
        if not found.exists():
            target = f" --example {found.name}" if "/" in name else ""
            raise Missing(f"{found}: cargo build --release -p {package}{target}")
        return found

    def compiled(self, name: str) -> Path:
        """A small C program that lies here."""
        target = self.root / name
        if not target.exists():
            need("gcc", "gcc")
            subprocess.run(["gcc", "-O2", "-Wall", "-o", target, HERE / f"{name}.c"], check=True)
        return target


def need(program: str, package: str) -> str:
    found = shutil.which(program)
    if not found:
        raise Missing(f"{program}: apt install {package}")
    return found


class World:
    """Mounts two disks: `ws` with the collections `masters` and `vault` and a directory for `work`, and `usb`,
    a destination that may receive nothing. The agent is started and stopped as often as is liked."""

    def __init__(self, lab: Lab, inodes: int = 60_000) -> None:
        if os.geteuid() != 0:
            raise Missing("root, for loop disks and fanotify: sudo tests/benches/run")
        need("mkfs.ext4", "e2fsprogs")
        self.lab = lab
        self.root = Path(tempfile.mkdtemp(prefix="world-", dir=lab.root))
        self.mounted: list[Path] = []
        self.agent: subprocess.Popen[bytes] | None = None
        self.collector: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.disk("ws", 2000, inodes)
        self.disk("usb", 100, 5_000)
        for directory in ("ws/masters", "ws/vault", "ws/work", "etc", "state"):
            (self.root / directory).mkdir()
        (self.root / "etc/policy.toml").write_text(
            f"""version = 1
mode = "enforce"
[[collection]]
name = "masters"
paths = ["{self.root}/ws/masters"]
[[collection]]
name = "vault"
paths = ["{self.root}/ws/vault"]
opened-by = ["magick"]
[[tier]]
name = "public"
max-megapixels = 6
max-scale = 0.6
max-bit-depth = 8
[[tier]]
name = "licensed"
max-megapixels = 20
max-scale = 0.9
[elsewhere]
ceiling = "none"
[[program]]
name = "magick"
path = "/usr/bin/convert-im6.q16"
"""
        )

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.collector:
            end(self.collector)
        for point in reversed(self.mounted):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def disk(self, name: str, mebibytes: int, inodes: int) -> None:
        image, point = self.root / f"{name}.img", self.root / name
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(mebibytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-N", str(inodes), image], check=True)
        subprocess.run(["mount", "-o", "loop", image, point], check=True)
        self.mounted.append(point)

    def copy(self, sources: list[Path], below: str) -> list[Path]:
        """Copies files to the world's disk, by a process that ends: what it read must not label the harness."""
        target = self.root / below
        subprocess.run(["cp", "--", *sources, target], check=True)
        return [target / source.name for source in sources]

    def start(self, masters: int = 0) -> None:
        """Starts the agent, and waits until it guards and knows so many masters."""
        settings = f'policy = "{self.root}/etc/policy.toml"\nstate = "{self.root}/state"\nguard = "gate"\n'
        if self.collector:
            settings += f'[collector]\nurl = "{self.url}"\ntoken-file = "{self.root}/etc/token"\n'
        (self.root / "etc/agent.toml").write_text(settings)
        with (self.root / "agent.log").open("ab") as log:
            command = [self.lab.program("vitrine"), "run", "--config", self.root / "etc/agent.toml"]
            self.agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def knows() -> bool:
            if self.agent.poll() is not None:
                raise RuntimeError(f"the agent ended:\n{(self.root / 'agent.log').read_text()}")
            status = self.status()
            return bool(status and status["scanned"] and status["masters"] >= masters and status["pending"] == 0)

        wait_until("agent that guards and knows all masters", PATIENCE, knows)

    def stop(self) -> None:
        if self.agent:
            end(self.agent)
            self.agent = None

    def status(self) -> dict | None:
        """What the running agent says of itself; none before it has said anything."""
        try:
            status = json.loads((self.root / "state/status.json").read_bytes())
        except FileNotFoundError:
            return None
        return status if status["pid"] == self.agent.pid else None

    def memory(self, field: str) -> float:
        """Resident memory of the agent in MiB: `VmRSS` now, `VmHWM` at most (proc_pid_status(5))."""
        lines = Path(f"/proc/{self.agent.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024

    def ticks(self) -> int:
        """Processor time of the agent in clock ticks (proc_pid_stat(5))."""
        fields = Path(f"/proc/{self.agent.pid}/stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    def start_collector(self) -> str:
        """Starts a collector for the agent's next start; gives a token to read with."""
        program = self.lab.program("vitrine-collector", "vitrine-collector")
        data, log = self.root / "collector", self.root / "collector.log"
        with log.open("wb") as output:
            command = [program, "serve", "--no-tls", "--listen", "127.0.0.1:0", "--data", data]
            self.collector = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def address() -> str | None:
            found = [line for line in log.read_text().splitlines() if line.startswith("listening on ")]
            return found[0].split()[2] if found else None

        self.url = wait_until("address of the collector", PATIENCE, address)
        tokens = {}
        for role in ("agent", "reader"):
            command = [program, "token", "create", "--json", "--name", role, "--role", role, "--data", data]
            tokens[role] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["token"]
        token = self.root / "etc/token"
        token.touch(mode=0o600)
        token.write_text(tokens["agent"])
        return tokens["reader"]


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process as its service manager would; at once if it does not listen."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
