"""The emulated machine: started, listened to, and ended by its process id."""

import ctypes
import json
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator

from cache import VmError
from image import Disks
from kernel import Kernel

MEMORY = 2048
# Without what only costs time where it is emulated.
PROCESSOR = "max,la57=off,smap=off,smep=off,pcid=off"
# How long an emulated kernel may take to its first process, beside another one.
BOOT = 120
BOOT_LINE = "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off audit=0"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Runs in a child before its program: a run that is killed leaves no machine behind (prctl(2))."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class NotBooted(VmError):
    """The guest's kernel did not come to its first program: nothing of ours has run yet."""


class Machine:
    """One run of QEMU. What the guest tells comes through a virtio port on QEMU's standard output; the console
    goes to a file."""

    def __init__(self, kernel: Kernel, disks: Disks, payload: Path, room: Path, counts: bool = False):
        self.console = room / "console"
        clock = ["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"] if counts else ["-accel", "tcg,thread=multi", "-smp", "2"]
        command = ["qemu-system-x86_64", "-M", "pc", *clock, "-cpu", PROCESSOR, "-m", str(MEMORY),
                   "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-kernel", str(kernel.image), "-initrd", str(kernel.initrd), "-append", BOOT_LINE,
                   "-serial", f"file:{self.console}",
                   "-device", "virtio-serial-pci", "-chardev", "stdio,id=lines,signal=off",
                   "-device", "virtserialport,chardev=lines,name=lines"]
        # Every change is thrown away; the data is there a second time, to be restored from.
        for image, options in [(disks.root, "snapshot=on"), (payload, "readonly=on"), (disks.data, "snapshot=on"), (disks.usb, "snapshot=on"),
                               (disks.raw, "snapshot=on"), (disks.data, "readonly=on")]:
            command += ["-drive", f"file={image},format=raw,if=virtio,cache=unsafe,{options}"]
        try:
            # The port is closed when QEMU's input ends: it is a pipe that nothing is written to.
            with open(room / "qemu", "wb") as errors:
                self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, preexec_fn=die_with_parent)
        except FileNotFoundError as error:
            raise VmError("qemu-system-x86_64 is not installed: apt-get install qemu-system-x86") from error
        self.errors = room / "qemu"

    def lines(self, seconds: float) -> Iterator[dict]:
        """What the guest tells, until it says `done`. It has told that it is up before anything else."""
        end = time.monotonic() + seconds
        booted = time.monotonic() + BOOT
        is_up = False
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                left = (end if is_up else booted) - time.monotonic()
                if left <= 0 and not is_up:
                    raise NotBooted(f"the guest did not boot within {BOOT} seconds")
                if left <= 0:
                    raise VmError(f"the guest was not ready within {seconds:.0f} seconds")
                if not selector.select(left):
                    continue
                chunk = self.process.stdout.read1()
                if not chunk:
                    self.process.wait()
                    said = self.errors.read_text(errors="replace").strip()
                    if not is_up:
                        raise NotBooted(f"the guest ended before it was up: {said}")
                    raise VmError(f"the guest ended before its work was done: {said}")
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    told = json.loads(line)
                    if told["kind"] == "up":
                        is_up = True
                        continue
                    if told["kind"] == "done":
                        return
                    if told["kind"] == "failed":
                        raise VmError(f"in the guest: {told['text']}")
                    yield told

    def tail(self) -> str:
        """The end of the console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-40:])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
