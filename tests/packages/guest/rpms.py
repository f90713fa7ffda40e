"""The RPM packages under a systemd that runs. It is a Debian's, whose rpm knows of nothing that they require."""

import re
import shutil
from pathlib import Path

from machine import (AGENT, COLLECTOR, MASTERS, PINS, POLICY, STATE, Done, check, enforces, said_lately, shown, status, unharmed, wait_until)

RPMS = Path("/vm/rpms")


def rpm(*words: str, version: str = "") -> Done:
    files = sorted((RPMS / version).glob("*.rpm")) if version else []
    return Done("rpm", "--nodeps", "--force-debian", *words, *files, seconds=400)


def main(enforced: str) -> None:
    Done("dpkg", "-P", "vitrine-agent", "vitrine-collector", seconds=200)
    done = rpm("--install", version="first")
    check("rpm: both packages are installed", done, "" if done else done)
    for unit in [AGENT, COLLECTOR]:
        state = [shown(unit, name) for name in ["ActiveState", "NRestarts", "UnitFileState"]]
        check(f"rpm: {unit} is active and starts with the machine", state == ["active", "0", "enabled"], state)
    check("rpm: a fresh agent runs in audit", wait_until(lambda: status().get("mode") == "audit"), said_lately)
    POLICY.write_text(enforced)
    check("rpm: an edited policy is in force", wait_until(enforces) and wait_until(lambda: status().get("masters") == len(MASTERS)), said_lately)
    before = shown(AGENT, "MainPID")
    with unharmed("rpm: no copy went out in an update"):
        done = rpm("--upgrade", version="later")
        check("rpm: after an update a new agent enforces", done and shown(AGENT, "MainPID") != before and wait_until(enforces), "" if done else done)
    check("rpm: the edited policy is what it was, the new one lies beside", POLICY.read_text() == enforced and POLICY.with_name("policy.toml.rpmnew").exists())
    done = rpm("--erase", "vitrine-agent", "vitrine-collector")
    gone = [shown(unit, "ActiveState") != "active" and shown(unit, "LoadState") != "loaded" for unit in [AGENT, COLLECTOR]]
    check("rpm: both packages are removed, and their services", done and all(gone), "" if done else done)
    check("rpm: the guard is out of the kernel", not PINS.exists())
    saved = POLICY.with_name("policy.toml.rpmsave")
    check("rpm: data stays, and the edited policy as *.rpmsave", (STATE / "index.db").exists() and saved.exists() and saved.read_text() == enforced)
    told = re.findall(r"to remove all of it: (rm -r .*)", done.text, re.I)
    for command in told:
        Done("sh", "-c", command.replace("rm -r", "rm -rf"))
    places = [POLICY.parent, STATE, Path("/var/lib/private/vitrine-collector"), Path("/etc/default/vitrine-collector.rpmsave")]
    left = [str(path) for path in places if path.exists()]
    check("rpm: what it says removes the rest", len(told) == 2 and not left, left or told)
    # What rpm knows of itself is not the packages'.
    shutil.rmtree("/var/lib/rpm", ignore_errors=True)
