"""What the machine around the agent does to it: its disks, its power, its network, its unit."""

import errno
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from machine import (AGENT, COLLECTOR, PINS, SETTINGS, STATE, USB, Done, Filled, check, enforces, install, notices, recorded, restarted, said_lately, shown,
                     status, unharmed, wait_until)

UNIT_FILE = Path("/lib/systemd/system/vitrine.service")
STICK, DISK, LOOP = Path("/media/stick"), Path("/sys/block/vde"), "/dev/loop1"
# Longer than the watchdog waits, which must not count what the machine slept.
ASLEEP = 65
DAYS = 31


def no_room_to_install() -> None:
    with Filled(leaving=4 << 20):
        done = install("agent-1")
    check("on a full disk it is not installed, and dpkg says why", not done and "No space left on device" in done.text, done)
    check("no half of it runs", shown(AGENT, "ActiveState") == "inactive", shown(AGENT, "ActiveState"))


def no_room_to_update() -> None:
    before = shown(AGENT, "MainPID")
    with Filled(leaving=4 << 20):
        done = install("agent-2")
    check("on a full disk it is not updated, and dpkg says why", not done and "No space left on device" in done.text, done)
    check("the agent that was there goes on", shown(AGENT, "MainPID") == before and enforces())
    done = install("agent-2")
    check("with room it is updated, and enforces", done and wait_until(enforces), "" if done else done)


def is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def read_only_root() -> None:
    """As the kernel does it when a disk begins to fail: whatever is open for writing, nothing is written any more."""
    before = shown(AGENT, "MainPID")
    Path("/proc/sysrq-trigger").write_text("u")
    wait_until(lambda: is_read_only(Path("/")) and is_read_only(USB))
    Done("mount", "-o", "remount,rw", USB)
    check("the root is read-only, the USB disk is not", is_read_only(Path("/")) and not is_read_only(USB))
    refused("a read-only root under the agent", USB)
    check("the agent goes on", shown(AGENT, "MainPID") == before and shown(AGENT, "ActiveState") == "active", said_lately)
    restarted(seconds=40)
    refused("an agent that starts on a read-only root", USB)
    check("what refuses is still in the kernel, and the journal names what cannot be written", PINS.exists() and str(STATE) in said_lately(), said_lately)
    Done("mount", "-o", "remount,rw", "/")
    check("once it can be written it enforces by itself", wait_until(enforces, 120), said_lately)


# Says nothing, so that no label comes to the checks through a pipe: they could not plug in a disk any more.
COPY = """
import sys
try:
    with open(sys.argv[1], "rb") as scan, open(sys.argv[2], "wb") as copy:
        copy.write(scan.read())
except OSError as error:
    sys.exit(100 + error.errno)
"""


def tries(to: Path) -> int:
    """A copy of a master; 0 or why not, of errno(3)."""
    done = subprocess.run(["python3", "-c", COPY, "/srv/scans/KP2001_0001.tif", str(to)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False)
    return done.returncode and done.returncode - 100


def refused(when: str, where: Path) -> None:
    """A copy of a master is refused, and nothing of it is there."""
    to = where / "refused.tif"
    why = tries(to)
    size = to.stat().st_size if to.exists() else 0
    to.unlink(missing_ok=True)
    is_refused = why in (errno.EPERM, errno.EACCES) and not size
    check(f"{when}: a copy is refused", is_refused, "" if is_refused else f"errno {why}, {size} bytes arrived")


def plug() -> None:
    STICK.mkdir(exist_ok=True)
    done = Done("losetup", LOOP, f"/dev/{DISK.name}") and Done("mount", LOOP, STICK)
    check("a stick can be mounted", done, "" if done else done)


def stick_pulled() -> None:
    """A stick vanishes while something ordinary is copied to it, and comes back."""
    plug()
    refused("a stick that is plugged in", STICK)
    before = shown(AGENT, "MainPID")
    write = f"for number in 1 2 3 4 5 6 7 8; do busybox dd if=/dev/zero of={STICK}/$number.bin bs=64k count=40 conv=fsync; done"
    copying = subprocess.Popen(["sh", "-c", write], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    begun = wait_until(lambda: (STICK / "2.bin").exists())
    (DISK / "device").resolve().parent.joinpath("remove").write_text("1")
    said = copying.communicate(timeout=60)[0]
    check("it is pulled in mid-copy", begun and "records out" in said and "rror" in said, said[-300:])
    check("the agent goes on, and enforces", shown(AGENT, "MainPID") == before and enforces(), said_lately)
    Done("umount", "--lazy", STICK)
    Done("losetup", "--detach", LOOP)
    Path("/sys/bus/pci/rescan").write_text("1")
    wait_until(lambda: Path(f"/dev/{DISK.name}").exists())
    plug()
    refused("a stick that came back", STICK)
    Done("umount", STICK)
    Done("losetup", "--detach", LOOP)
    shutil.rmtree(STICK, ignore_errors=True)


def has_delivered() -> bool:
    """The copier is refused all the time: something new is always there."""
    return status().get("collector_contact", "").startswith("reached") and status().get("spool_depth", DAYS) < DAYS


def waiting() -> str:
    return f"{status().get('spool_depth')} records wait; {status().get('collector_contact')}"


def a_month_alone() -> None:
    """No collector for a month, and something to report every day."""
    wait_until(lambda: status().get("collector_contact", "").startswith("reached"))
    Done("systemctl", "stop", COLLECTOR)
    began = time.time()
    for day in range(1, DAYS + 1):
        Done("date", "--set", f"@{began + day * 86400:.0f}")
        tries(USB / "daily.tif")
    told = wait_until(lambda: "not reached since" in status().get("collector_contact", "") and status().get("spool_depth", 0) >= DAYS, 90)
    check(f"after {DAYS} days without its collector it enforces, keeps its records, and says since when", told and enforces(), waiting())
    restarted()
    check("it does so after a restart", wait_until(lambda: enforces() and status().get("spool_depth", 0) >= DAYS), status().get("spool_depth"))
    Done("systemctl", "start", COLLECTOR)
    done = wait_until(has_delivered, 400)
    check("with its collector again, that has them all", done, waiting)
    # Those within ten seconds are one record.
    jumps = sum(record.get("count", 1) for record in recorded("clock-jumped"))
    check("each jump of the clock is recorded", jumps >= DAYS, jumps)
    Done("date", "--set", f"@{began + 120:.0f}")


def alerts(code: str) -> list[dict]:
    done = Done("vitrine-collector", "alerts", "--data", "/var/lib/vitrine-collector", "--open", "--json")
    told = next((json.loads(line) for line in done.text.splitlines() if line.startswith('{"alerts"')), {"alerts": []})
    return [alert for alert in told["alerts"] if alert.get("code") == code]


def unit_gone() -> None:
    """Somebody takes the unit away and kills the agent: nobody starts it again."""
    good = SETTINGS.read_text()
    SETTINGS.write_text(good + "heartbeat-seconds = 5\n")
    restarted()
    wait_until(lambda: enforces() and status().get("collector_contact", "").startswith("reached"))
    wait_until(lambda: not alerts("agent-silent"), 30)
    before = shown(AGENT, "MainPID")
    away = Path("/root/vitrine.service")
    away.write_text(UNIT_FILE.read_text())
    UNIT_FILE.unlink()
    Done("systemctl", "daemon-reload")
    check("without its unit it goes on", shown(AGENT, "LoadState") != "loaded" and enforces(), shown(AGENT, "LoadState"))
    os.kill(int(before), 9)
    ended = time.monotonic()
    told = wait_until(lambda: alerts("agent-silent"), 60)
    after = time.monotonic() - ended
    check("killed then, its silence is an alert within two heartbeats, the time to look and an emulator's", told and after < 20, f"{after:.0f} s")
    check("nobody starts it", shown(AGENT, "MainPID") == "0")
    check("what refuses is still in the kernel", PINS.exists())
    refused("without an agent", USB)
    UNIT_FILE.write_text(away.read_text())
    away.unlink()
    SETTINGS.write_text(good)
    Done("systemctl", "daemon-reload")
    check("with its unit it starts and enforces", restarted() and wait_until(enforces), said_lately)
    check("and the alert ends", wait_until(lambda: not alerts("agent-silent")), alerts("agent-silent"))


def asleep() -> None:
    """Suspended to memory, and woken by its clock."""
    before, jumps = shown(AGENT, "MainPID"), len(notices("clock-jumped"))
    slept = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    # Says of what a process died that a signal killed (sysctl of kernel(5)).
    Path("/proc/sys/kernel/print-fatal-signals").write_text("1")
    alarm = Path("/sys/class/rtc/rtc0/wakealarm")
    alarm.write_text("0\n")
    alarm.write_text(f"+{ASLEEP}\n")
    Path("/sys/power/state").write_text("mem")
    slept = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() - slept
    check("the machine sleeps", slept > ASLEEP / 2, f"{slept:.0f} s")
    refused("just woken", USB)
    goes_on = wait_until(enforces, 10) and shown(AGENT, "MainPID") == before
    check("the same agent goes on, and enforces", goes_on, lambda: f"{said_lately()}\n{Done('dmesg').text[-1500:]}")
    more = notices("clock-jumped")[jumps:]
    check("sleep is not taken for a set clock", not more, more or "")
    check("the collector has what was recorded", wait_until(has_delivered, 120), waiting)


def main() -> None:
    # The stick first: an agent that is started again counts the checks among those who may have read what the copier has, by
    # the pipe on which it will tell its figures, and then they can plug in no disk.
    with unharmed("no copy went out whatever the machine did", pause=200):
        for change in [stick_pulled, unit_gone, a_month_alone, asleep, no_room_to_update, read_only_root]:
            change()
