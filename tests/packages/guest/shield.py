"""The shield of an installed agent, which the service manager starts: what root is kept from, and what still works."""

import os
import signal
import time
from pathlib import Path

from machine import AGENT, PINS, SETTINGS, STATE, Done, check, enforces, install, notices, restarted, said_lately, shown, status, wait_until

DROP_IN = Path("/run/systemd/system/vitrine.service.d/shield.conf")
KEY = Path("/etc/vitrine/maintenance")
DATA = "/var/lib/vitrine-collector"


def agent() -> int:
    return int(shown(AGENT, "MainPID"))


def shields() -> bool:
    return enforces() and status().get("shield", "").startswith("enforce")


def refused(what: str, call) -> None:
    try:
        call()
        check(f"root is kept from it: {what}", False, "it was let")
    except PermissionError as error:
        check(f"root is kept from it: {what}", True, error)


def write_settings() -> None:
    with open(SETTINGS, "a", encoding="utf-8") as file:
        file.write("# edited\n")


def present(minutes: int = 30) -> Done:
    issued = Done("vitrine-collector", "maintenance", "issue", "--data", DATA, "--key", f"{KEY}.key", "--all", "--minutes", minutes,
                  "--reason", "checks of the packages")
    opened = Done("vitrine", "maintenance", issued.text.strip()) if issued else issued
    time.sleep(1)
    return opened


def hands_off() -> None:
    process = agent()
    for number in [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]:
        refused(f"signal {number.name} to the agent", lambda number=number: os.kill(process, number))
    refused("the settings", write_settings)
    refused("the spool", lambda: open(STATE / "agent-id", "ab").close())
    refused("a name in the kernel", (PINS / "links/file_open").unlink)
    done = Done("vitrine", "run", "--detach-guards")
    check("root is kept from it: the guard taken away by the agent's own program", not done and "the shield keeps" in done.text, done)
    check("each touch is a record", len(notices("agent-touched")) >= 5, len(notices("agent-touched")))


def service() -> None:
    """What the service manager does goes on."""
    for name, command in [("restarted", "restart"), ("stopped and started", "stop")]:
        former = agent()
        Done("systemctl", command, AGENT, seconds=200)
        if command == "stop":
            refused("a name in the kernel, while no agent is there", (PINS / "links/file_open").unlink)
            refused("the settings, while no agent is there", write_settings)
            Done("systemctl", "start", AGENT, seconds=300)
        well = wait_until(shields, 120)
        check(f"{name} by the service manager, it is the next agent", well and agent() != former, said_lately)
    former = agent()
    Done("systemctl", "kill", "--signal=KILL", AGENT)
    well = wait_until(lambda: agent() not in (0, former) and shields(), 200)
    check("killed by the service manager, it comes again, and says so", well and any("signal 9" in told for told in notices("agent-touched")), said_lately)


def others() -> None:
    """A drop-in that starts the agent with other settings, or another program, gets nothing."""
    elsewhere = Path("/root/agent.toml")
    elsewhere.write_text(SETTINGS.read_text().replace('shield = "enforce"', 'shield = "off"'))
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    for name, command in [("other settings", f"/usr/bin/vitrine run --config {elsewhere}"),
                          ("another state", "/usr/bin/vitrine run --state /root/state"),
                          ("a program of his own", "/root/vitrine run")]:
        Done("cp", "/usr/bin/vitrine", "/root/vitrine")
        DROP_IN.write_text(f"[Service]\nExecStart=\nExecStart={command}\n")
        Done("systemctl", "daemon-reload")
        Done("systemctl", "--no-block", "restart", AGENT)
        time.sleep(25)
        kept = PINS.joinpath("links/file_open").exists()
        refused(f"the settings, after a start with {name}", write_settings)
        check(f"a start with {name} does not take the guard over", kept and not enforces(), said_lately)
    DROP_IN.unlink()
    Done("systemctl", "daemon-reload")
    Done("systemctl", "restart", AGENT, seconds=300)
    check("the agent as it was takes it over", wait_until(shields, 120), said_lately)


def update() -> None:
    """An update needs no token."""
    former = agent()
    done = install("agent-1")
    well = wait_until(shields, 120) and agent() != former
    told = [told for told in notices("program-changed") if "the agent's own program was replaced" in told]
    check("an update needs no token, and its program is on record", done and well and told, f"{done} {told} {said_lately()}")
    hold = os.path.exists(PINS / "links/file_open")
    refused("a name in the kernel, after the update", (PINS / "links/file_open").unlink)
    check("the guard goes on", hold)


def leave() -> None:
    """With a token root does all of it, and takes the shield back."""
    opened = present()
    check("a token opens maintenance", opened, opened)
    SETTINGS.write_text(SETTINGS.read_text().replace('shield = "enforce"', 'shield = "off"'))
    restarted()
    off = wait_until(lambda: enforces() and status().get("shield", "").startswith("off"), 120)
    check("during maintenance the settings take the shield back", off, f"{status()} {said_lately()}")
    check("beginning is on record", notices("maintenance-opened"), notices("maintenance-opened"))


def main() -> None:
    made = Done("vitrine", "policy", "keygen", "--unencrypted", "--out", KEY)
    SETTINGS.write_text(f'shield = "enforce"\nmaintenance-key = "{KEY}.pub"\n' + SETTINGS.read_text())
    restarted()
    if not check("with a key and a line in the settings the shield is in force", made and wait_until(shields, 120), said_lately):
        return
    hands_off()
    service()
    update()
    others()
    leave()
