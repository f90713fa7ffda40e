"""What goes wrong on workstations: each ends with an agent that enforces, and a message that names the thing."""

import ctypes
import os
import signal
import struct
import time
from pathlib import Path

from machine import (AGENT, PINS, POLICY, SETTINGS, STATE, Done, Filled, check, enforces, notices, restarted, said_lately, shown, unharmed, wait_until)

DROP_IN = Path("/run/systemd/system/vitrine.service.d/test.conf")


def settings() -> None:
    """Settings that cannot be used."""
    good = SETTINGS.read_text()
    for name, text, mode, word in [
        ("half-written", good[: len(good) // 2], 0o644, "agent.toml"),
        ("of an unknown key", good + '[measure]\nsecond = 4\n', 0o644, "second"),
        ("of a wrong type", 'deadline-ms = "fast"\n' + good, 0o644, "deadline-ms"),
        ("that everybody can write", good, 0o666, "chmod go-w"),
    ]:
        SETTINGS.write_text(text)
        SETTINGS.chmod(mode)
        before = len(notices("settings-refused"))
        restarted()
        does = wait_until(enforces)
        told = notices("settings-refused")[before:]
        check(f"settings {name}: it enforces, and names them", does and told and word in told[-1] and "/etc/vitrine/agent.toml" in told[-1],
              told or said_lately())
    SETTINGS.write_text(good)
    SETTINGS.chmod(0o644)
    check("mended settings are used again", restarted() and wait_until(enforces) and shown(AGENT, "NRestarts") == "0")


def policy() -> None:
    """A policy that cannot be used, at a start and while it runs."""
    good = POLICY.read_text()
    POLICY.write_text(good[: len(good) // 2])
    told = wait_until(lambda: notices("policy-refused"))
    check("a half-written policy changes nothing, and is named", enforces() and told and str(POLICY) in told[-1], told)
    POLICY.unlink()
    restarted()
    told = notices("policy-refused")
    check("without its policy it starts with the last good one, and names it", wait_until(enforces) and str(POLICY) in told[-1], told[-1:])
    POLICY.write_text(good)
    check("the policy is back", wait_until(lambda: enforces() and "policy_error" not in Done("vitrine", "status").text))


def state() -> None:
    """State that is gone."""
    Done("systemctl", "stop", AGENT)
    STATE.rename("/var/lib/vitrine.away")
    Done("systemctl", "start", AGENT)
    check("without its state directory it enforces", wait_until(enforces), said_lately)
    Done("systemctl", "stop", AGENT)
    Done("rm", "-rf", STATE)
    Path("/var/lib/vitrine.away").rename(STATE)
    Done("systemctl", "start", AGENT)
    check("with it again, too", wait_until(enforces))


def ends() -> None:
    """The agent is killed, hangs, or is there twice."""
    before = shown(AGENT, "MainPID")
    os.kill(int(before), signal.SIGKILL)
    check("killed, it is started again and enforces", wait_until(lambda: shown(AGENT, "MainPID") not in ("0", before) and enforces()))
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text("[Service]\nWatchdogSec=10\n")
    Done("systemctl", "daemon-reload")
    restarted()
    wait_until(enforces)
    before = shown(AGENT, "MainPID")
    os.kill(int(before), signal.SIGSTOP)
    again = wait_until(lambda: shown(AGENT, "MainPID") not in ("0", before) and enforces(), 120)
    said = Done("journalctl", "-u", AGENT, "-o", "cat").text
    check("hanging, it is ended by the watchdog, and enforces again", again and "Watchdog timeout" in said, "" if again else said[-500:])
    DROP_IN.unlink()
    Done("systemctl", "daemon-reload")
    second = Done("timeout", "--signal=KILL", "30", "vitrine", "run", "--guard", "watch")
    check("a second agent is told of the first", second.status != 0 and "another agent" in second.text, second)
    check("the first one goes on", enforces())


def taken_away() -> None:
    """Somebody sees to it that the agent will not be there tomorrow."""
    Done("systemctl", "disable", AGENT)
    told = wait_until(lambda: notices("service-disabled"), 90)
    check("a service that does not start with the workstation any more is recorded", told and AGENT in told[-1], told)
    Done("systemctl", "enable", AGENT)
    unit = Path(shown(AGENT, "FragmentPath"))
    unit.rename("/root/unit.away")
    told = wait_until(lambda: [what for what in notices("installation-changed") if f"{unit} was removed" in what], 90)
    check("a unit that is taken away is recorded, and named", told, notices("installation-changed"))
    Path("/root/unit.away").rename(unit)
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text("[Service]\nNice=0\n")
    Done("systemctl", "daemon-reload")
    told = wait_until(lambda: [what for what in notices("installation-changed") if f"{DROP_IN} is new" in what], 90)
    check("so is what changes the unit", told, notices("installation-changed"))
    DROP_IN.unlink()
    Done("systemctl", "daemon-reload")
    check("it enforces all the while", enforces())


def clock() -> None:
    """The clock is years off when it starts."""
    now = time.time()
    for year in [2001, 2060]:
        Done("date", "--set", f"{year}-01-01")
        restarted()
        check(f"in the year {year} it enforces", wait_until(enforces), said_lately)
    Done("date", "--set", f"@{now + 60:.0f}")
    check("and afterwards", restarted() and wait_until(enforces))


def starved() -> None:
    """Somebody who is not root takes all of the processor's time, and then all memory."""
    staff = ["--uid=games", "--collect", "--quiet"]
    before, edited = shown(AGENT, "MainPID"), len(notices("policy-loaded"))
    Done("systemd-run", *staff, "--unit=spinning", "sh", "-c", "for i in $(seq 20); do while :; do :; done & done; wait")
    POLICY.write_text(POLICY.read_text() + "\n# edited while nobody has time\n")
    told = wait_until(lambda: len(notices("policy-loaded")) > edited, 120)
    check("beside twenty who take all of the processor's time an edited policy is in force, and enforces", told and enforces())
    Done("systemctl", "kill", "--signal=KILL", "spinning")
    done = Done("systemd-run", *staff, "--unit=hog", "--wait", "python3", "-c", "kept = []\nwhile True: kept.append(b'x' * (1 << 22))", seconds=300)
    said = Done("journalctl", "-u", "hog", "-o", "cat", "-n", "4").text
    check("who takes all memory is ended", "oom" in said or "MemoryError" in said, f"{done} {said}")
    check("and not the agent", shown(AGENT, "MainPID") == before and wait_until(enforces), said_lately)


def no_room() -> None:
    """The disk is full when it starts."""
    with Filled():
        restarted(seconds=60)
        check("on a full disk copies are refused", wait_until(enforces, 20) or PINS.exists(), said_lately)
    check("with room again it enforces", wait_until(enforces, 60) or restarted() and wait_until(enforces, 60), said_lately)


def another_shape() -> None:
    """What an earlier version left has another shape: a map of it takes the place of one of ours, as the next version would find it."""
    Done("systemctl", "stop", AGENT)
    place = PINS / "maps/counters"
    place.unlink()
    # bpf(2): BPF_MAP_CREATE of an array of three entries of 12 bytes, BPF_OBJ_PIN.
    bpf = lambda command, attributes: ctypes.CDLL(None, use_errno=True).syscall(321, command, ctypes.create_string_buffer(attributes, 128), 128)
    made = bpf(0, struct.pack("<5I", 2, 4, 12, 3, 0))
    name = ctypes.create_string_buffer(str(place).encode())
    pinned = bpf(6, struct.pack("<QI", ctypes.addressof(name), made))
    # A program that ours does not have: its own link, by a second name.
    stranger = PINS / "links/of_an_earlier_version"
    os.link(PINS / "links/file_open", stranger)
    Done("systemctl", "start", AGENT)
    does = wait_until(enforces)
    check("after a version whose maps have another shape it enforces", pinned == 0 and does and not stranger.exists(),
          f"pinned {pinned}; {'' if does else said_lately()}")


def main() -> None:
    with unharmed("no copy went out in all of this", pause=50):
        for fault in [another_shape, settings, policy, ends, taken_away, state, starved, clock, no_room]:
            fault()
    said = Done("journalctl", "-u", AGENT, "-o", "cat").text
    fell = [line for line in said.splitlines() if "status=7/BUS" in line or "status=11/SEGV" in line]
    check("the agent did not fall by itself", not fell, fell)
