"""How the day ended: what the policy wanted, held against what arrived and what was recorded."""

import json
import shutil

from story import REFUSED, Attempt, Story

# A rename is told of when it is done, and who did it may have ended by then: where the machine stands still for a moment, one is missed.
TOLD_AFTERWARDS, MISSED = {"mv", "ln"}, 1
COLUMNS = ["what was tried", "program", "master", "tier", "destination", "decision", "bytes arrived"]


def row(attempt: Attempt, tiers: dict[str, str]) -> dict:
    """One attempt as the records tell it; the plan speaks only where nothing had to be recorded."""
    record = attempt.decisive
    program = record["processes"][0]["name"] if record and record["processes"] else attempt.tool
    masters = [master["path"] for master in record["masters"]] if record else []
    planned = str(attempt.master) if attempt.master else None
    master = planned if planned in masters or not masters else masters[0]
    if record:
        tier, decision = record["tier"], record["disposition"]
    else:
        written = next(attempt.place.rglob("*"), None) if attempt.destination == "workstation" else None
        tier, decision = tiers.get(str(written)), "allowed" if attempt.bytes_arrived else "none"
    return {
        "what": attempt.what,
        "program": program,
        "master": master.rsplit("/", 1)[-1] if master else None,
        "tier": tier,
        "destination": attempt.destination,
        "decision": decision,
        "bytes_arrived": attempt.bytes_arrived,
    }


def check(story: Story) -> list[str]:
    """Everything that did not end as the policy says, in sentences; empty: all is well."""
    faults, missed = [], MISSED
    for number, attempt in enumerate(story.attempts, 1):
        attempt.faults += wrong(attempt)
        if story.world.gate and is_nameless(attempt):
            missed -= attempt.tool in TOLD_AFTERWARDS
            if attempt.tool not in TOLD_AFTERWARDS or missed < 0:
                attempt.faults.append("its record names no program")
        faults += [f"attempt {number} ({attempt.tool}: {attempt.what} to {attempt.destination}): {fault}" for fault in attempt.faults]
    faults += [f"the master {scan.name} is gone" for scan in story.world.scans + story.world.sealed if not scan.is_file()]
    return faults


def wrong(attempt: Attempt) -> list[str]:
    record = attempt.decisive
    if attempt.arrives:
        faults = [f"it was {record['disposition']} and should have arrived"] if record and record["disposition"] != "allowed" else []
        if attempt.destination != "workstation" and attempt.tool != "mv" and attempt.bytes_arrived != attempt.source.stat().st_size:
            faults.append(f"{attempt.bytes_arrived} bytes arrived instead of {attempt.source.stat().st_size}")
        return faults
    faults = [f"{attempt.bytes_arrived} bytes arrived"] if attempt.bytes_arrived else []
    if record is None:
        return [*faults, "no record tells of it"]
    if record["disposition"] not in REFUSED or record["verdict"] != "block":
        faults.append(f"its record says {record['verdict']}, {record['disposition']}")
    if str(attempt.master) not in [master["path"] for master in record["masters"]]:
        faults.append(f"its record names the masters {[master['path'] for master in record['masters']]}")
    return faults


def is_nameless(attempt: Attempt) -> bool:
    record = attempt.decisive
    return not attempt.arrives and record is not None and not (record["processes"] and record["processes"][0]["name"])


def rows(story: Story) -> list[dict]:
    # The tier of a file on the workstation stands in the records of what was then done with it.
    tiers = {record["file"]["path"]: record["tier"] for attempt in story.attempts for record in attempt.records if record["origin"] == "measured"}
    return [row(attempt, tiers) for attempt in story.attempts]


def summary(found: list[dict], alerts: int, is_well: bool) -> str:
    """The one line for programs."""
    return json.dumps({"attempts": found, "alerts": alerts, "ok": is_well}, ensure_ascii=False)


def table(found: list[dict]) -> str:
    """The same for people."""
    cells = [[text(value) for value in line.values()] for line in found]
    widths = [max(len(line[column]) for line in [COLUMNS, *cells]) for column in range(len(COLUMNS))]
    rule = "─" * min(sum(widths) + 2 * (len(widths) - 1), shutil.get_terminal_size((160, 50)).columns)
    lines = []
    for line in [COLUMNS, *cells]:
        left = [cell.ljust(width) for cell, width in zip(line[:-1], widths)]
        lines.append("  ".join([*left, line[-1].rjust(widths[-1])]))
    return "\n".join([lines[0], rule, *lines[1:]])


def text(value: object) -> str:
    if value is None:
        return "—"
    return f"{value:,}" if isinstance(value, int) else str(value)
