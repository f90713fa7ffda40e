"""What is checked in the installed system, from the first installation to the last file."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import traceback
import urllib.request
from pathlib import Path

import faults
import rpms
import shield
import surroundings
from machine import (AGENT, COLLECTOR, LAB, MASTERS, PINS, POLICY, SETTINGS, STATE, USB, Copier, Done, check, enforces, exposure, install, shown, status,
                     tell, unharmed, wait_until)

ENFORCED = """version = 1
mode = "enforce"
[[collection]]
name = "vault"
paths = ["/srv/vault"]
opened-by = ["nobody here"]
[[collection]]
name = "scans"
paths = ["/srv/scans"]
[[tier]]
name = "public"
max-megapixels = 0.1
max-scale = 0.6
[elsewhere]
ceiling = "none"
[[program]]
name = "nobody here"
path = "/usr/bin/false"
[[test]]
transfer = { tier = "master", to = "/media/usb/scan.tif" }
expect = "block"
"""
# What is no business of a package: logs, states of others, and what dpkg knows of its own work.
OTHERS = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/vm", "/srv", "/media", "/var/log", "/var/lib/dpkg", "/var/cache", "/var/lib/systemd",
          "/root", "/etc/.pwd.lock")


def tree() -> set[str]:
    found = set()
    for directory, names, files in os.walk("/"):
        names[:] = [name for name in names if not os.path.join(directory, name).startswith(OTHERS)]
        found.update(os.path.join(directory, name) for name in [*names, *files])
    found.update(str(path) for path in Path("/var/lib").glob("*vitrine*"))
    found.update(str(path) for path in Path("/var/lib/systemd").rglob("*vitrine*"))
    return {path for path in found if not path.endswith((".pyc", "__pycache__"))}


def serves() -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen("https://127.0.0.1:8443/healthz", context=context, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def installation() -> None:
    surroundings.no_room_to_install()
    done = install("collector-1", "agent-1")
    check("both packages are installed", done, "" if done else done)
    for unit in [AGENT, COLLECTOR]:
        state = [shown(unit, name) for name in ["ActiveState", "Type", "NRestarts", "UnitFileState"]]
        check(f"{unit} is active, has said so, and starts with the machine", state == ["active", "notify", "0", "enabled"],
              "" if state == ["active", "notify", "0", "enabled"] else f"{state} {Done('journalctl', '-n', '20', '-u', unit)}")
    check("its state says which guard", "guarding with flow" in Done("systemctl", "status", AGENT).text, shown(AGENT, "StatusText"))
    wait_until(lambda: status().get("mode"))
    check("a fresh agent runs in audit", status().get("mode") == "audit", status().get("why"))
    done = Done("vitrine", "status")
    check("vitrine status", done, "" if done else done)
    done = Done("vitrine", "doctor", "--json")
    failed = [one for one in json.loads(done.text) if one["state"] == "fail"] if done.status in (0, 1) else [str(done)]
    check("vitrine doctor finds nothing that fails", not failed, failed or "")
    check("the collector answers", serves(), "")
    check("its journal has the set-up token", "set-up token" in Done("journalctl", "-u", COLLECTOR).text)
    examples = sorted(Path("/usr/share/doc/vitrine-agent/examples").glob("*.toml"))
    failed = [str(done) for done in (Done("vitrine", "policy", "test", path) for path in [*examples, POLICY]) if not done]
    check(f"{len(examples)} example policies pass their tests", len(examples) >= 4 and not failed, failed or "")
    pages = ["man/man1/vitrine.1.gz", "man/man1/vitrine-policy-test.1.gz", "man/man8/vitrine-collector.8.gz", "bash-completion/completions/vitrine",
             "zsh/vendor-completions/_vitrine-collector", "fish/vendor_completions.d/vitrine.fish"]
    missing = [page for page in pages if not Path("/usr/share", page).exists()]
    check("manual pages and completions are there", not missing, missing or "")
    for unit, most in [(AGENT, 5.1), (COLLECTOR, 2.5)]:
        level = exposure(unit)
        check(f"systemd-analyze security {unit} is at most {most}", level <= most, level)


def enrolment() -> None:
    """By a token, to the collector beside it: so agent.toml is an edited one, too."""
    journal = Done("journalctl", "-u", COLLECTOR, "-o", "cat").text
    fingerprint = next(word for word in journal.split() if word.startswith("sha256:"))
    made = Done("vitrine-collector", "token", "create", "--data", "/var/lib/vitrine-collector", "--name", "workstation", "--json")
    token = Path("/etc/vitrine/token")
    token.touch(mode=0o600)
    token.write_text(json.loads(made.text)["token"] + "\n" if made else "")
    SETTINGS.write_text(f'[collector]\nurl = "https://127.0.0.1:8443"\ntoken-file = "{token}"\nca-fingerprint = "{fingerprint}"\n')
    Done("systemctl", "restart", AGENT)
    said = wait_until(lambda: status().get("spool_depth") == 0 and status().get("collector_contact"))
    check("the agent is enrolled, and the collector has its records", said, said or made)


def enforcement() -> None:
    POLICY.write_text(ENFORCED)
    check("an edited policy is in force", wait_until(enforces, 30), status().get("policy_error") or "")
    check("the masters are known", wait_until(lambda: status().get("masters") == len(MASTERS)), status().get("masters"))


# Seconds, as found in this guest.
took = {"update": 60.0}


def updates(before: set[str]) -> None:
    began, failed = time.monotonic(), []
    with unharmed("no copy went out in the updates"):
        for number in range(LAB["updates"]):
            former = shown(AGENT, "MainPID")
            done = install(f"agent-{2 - number % 2}")
            if not done or shown(AGENT, "MainPID") == former or shown(AGENT, "ActiveState") != "active":
                failed.append(f"{number}: {done}")
    took["update"] = (time.monotonic() - began) / max(LAB["updates"], 1)
    check(f"{LAB['updates']} updates, after each a new agent runs", not failed, "; ".join(failed)[:1500] or f"{took['update']:.1f} s each")
    kept = POLICY.read_text() == ENFORCED and "ca-fingerprint" in SETTINGS.read_text()
    check("edited policy and settings are what they were", kept and enforces(), "" if kept else POLICY.read_text()[:200])
    check("what the package would have installed lies beside", POLICY.with_name("policy.toml.dpkg-dist").exists())


def is_installed() -> str:
    """What dpkg says of the agent's package, in a word."""
    return Done("dpkg-query", "--show", "--showformat=${db:Status-Status}", "vitrine-agent").text


def cuts(before: set[str]) -> None:
    """An update is killed at some moment, with everything that it has started, as if the power had gone; then dpkg is asked to go on."""
    found, failed = [], []
    with unharmed("no copy went out while updates were cut off"):
        for number in range(LAB["cuts"]):
            # Spread over the whole of an update.
            after = (number + 0.5) / LAB["cuts"] * took["update"]
            command = ["dpkg", "--force-confdef", "--force-confold", "-i", f"/vm/debs/agent-{2 - number % 2}.deb"]
            dpkg = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                dpkg.wait(after)
            except subprocess.TimeoutExpired:
                os.killpg(dpkg.pid, signal.SIGKILL)
                dpkg.wait()
            found.append(f"{is_installed()} after {after:.1f} s")
            mended = Done("dpkg", "--force-confdef", "--force-confold", "--configure", "-a", seconds=200)
            if is_installed() != "installed":
                mended = install(f"agent-{2 - number % 2}")
            if not mended or not wait_until(enforces):
                failed.append(f"{found[-1]}: {mended}")
    check(f"{LAB['cuts']} updates that were cut off are mended by dpkg --configure -a, or the next one", not failed, "; ".join(failed or found))


def removal(before: set[str]) -> None:
    held = STATE / "quarantine" / "held.jpg"
    held.parent.mkdir(exist_ok=True)
    held.write_bytes(b"the only copy")
    done = Done("dpkg", "-r", "vitrine-agent", "vitrine-collector", seconds=200)
    check("both packages are removed", done, "" if done else done)
    left = [str(path) for path in [POLICY, SETTINGS, STATE / "index.db", Path("/var/lib/private/vitrine-collector")] if not path.exists()]
    check("data and settings stay", not left, left or "")
    check("the guard is out of the kernel", not PINS.exists())
    copier = Copier()
    arrived = wait_until(lambda: any(path.stat().st_size for path in USB.iterdir()), 20)
    counted = copier.end()
    check("without it the same copies go out", arrived and counted["arrived"] > 0, {**counted, "which": ""})
    done = install("collector-2", "agent-2")
    check("installed again, the edited policy is in force", done and wait_until(enforces), "" if done else done)
    Path("/etc/vitrine/token").unlink()
    done = Done("dpkg", "-P", "vitrine-agent", "vitrine-collector", seconds=200)
    check("both packages are purged", done, "" if done else done)
    check("the quarantine outlives them, because it holds only copies", held.is_file() and "is kept" in done.text, done)
    shutil.rmtree(STATE)
    left = sorted(tree() - before)
    check("nothing is left", not left, left or "")
    lost = sorted(before - tree())
    check("nothing of others is gone", not lost, lost or "")
    check("no unit is left", not Done("systemctl", "list-units", "--all", "--plain", "--no-legend", "vitrine*").text.strip(),
          Done("systemctl", "list-units", "--all", "--plain", "--no-legend", "vitrine*").text)


def main() -> None:
    tell("up")
    Done("losetup", "/dev/loop0", "/dev/vdd")
    # As a loop device it counts as a disk that can be carried away, which a virtio disk does not.
    Done("mount", "/dev/loop0", USB)
    shutil.rmtree(USB / "lost+found", ignore_errors=True)
    before = tree()
    installation()
    enrolment()
    enforcement()
    for name in LAB["parts"]:
        PARTS[name](before)


PARTS = {
    "updates": updates,
    "cuts": cuts,
    "faults": lambda _: faults.main(),
    "surroundings": lambda _: surroundings.main(),
    "shield": lambda _: shield.main(),
    "removal": removal,
    "rpm": lambda _: rpms.main(ENFORCED),
}
try:
    main()
except Exception:  # Whatever it is, the host must hear of it: nobody else would.
    check("the checks came to their end", False, traceback.format_exc())
tell("done")
