"""The lab: a workstation with real scans, an agent that guards it, a collector, and a day of attempts.

Started by packaging/try, which makes the directory and removes it.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

import report
from services import Agent, Centre, wait_until
from story import Story, tell
from world import LabError, World


def main() -> int:
    arguments = argparse.ArgumentParser(prog="packaging/lab")
    arguments.add_argument("--root", type=Path, required=True)
    arguments.add_argument("--bin", type=Path, required=True)
    arguments.add_argument("--guard", choices=["gate", "watch"], required=True)
    arguments.add_argument("--headless", action="store_true")
    options = arguments.parse_args()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, end)
    services = []
    try:
        return run(options, services)
    except LabError as error:
        print(f"try: {error}", file=sys.stderr)
        return 1
    finally:
        for service in reversed(services):
            service.stop()
        # packaging/try does it too; this is for the day when it was killed.
        World(options.root, options.guard).remove()


def end(number: int, _frame: object) -> None:
    """Ends the lab by way of its `finally`; once is enough."""
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_IGN)
    sys.exit(128 + number)


def run(options: argparse.Namespace, services: list) -> int:
    world = World(options.root, options.guard)
    tell("disks and pictures are made")
    world.build()
    tell(f"{len(world.scans + world.sealed)} masters from {', '.join(world.motifs)}")
    centre = Centre(world, options.bin / "vitrine-collector")
    services.append(centre.service)
    agent = Agent(world, options.bin / "vitrine", centre)
    services.append(agent.service)
    tell(agent.guarding.group(0))
    agent.wait_for_index()
    story = Story(world, agent)
    story.play()
    alerts = wait_for_alerts(centre)
    faults = report.check(story)
    if not alerts:
        faults.append("the collector has no alert")
    found = report.rows(story)
    print(report.table(found))
    print()
    if not world.gate:
        print("Without root copies can only be reported and taken back: nobody can know which program made them, and no")
        print("program can be kept from opening a master; the attempts at a vault are left out. `sudo packaging/try` shows them.")
    for fault in faults:
        print(f"WRONG: {fault}")
    refused = sum(attempt.is_refused for attempt in story.attempts)
    print(f"{len(found)} attempts, {refused} refused, {alerts} alerts at the collector: "
          + ("all as the policy says" if not faults else f"{len(faults)} not as the policy says"))
    if options.headless:
        print(report.summary(found, alerts, not faults), flush=True)
    else:
        stay(centre, agent, world)
    return 1 if faults else 0


def wait_for_alerts(centre: Centre) -> int:
    """How many alerts there are, once their number has stood still."""
    def settled() -> int:
        before = centre.alerts()
        time.sleep(1)
        return len(before) if before == centre.alerts() else 0

    try:
        return int(wait_until("an alert at the collector", 30, settled))
    except LabError as error:
        tell(str(error))
        return len(centre.alerts())


def stay(centre: Centre, agent: Agent, world: World) -> None:
    """Keeps everything running until Ctrl-C."""
    print(f"\nConsole   {centre.url}\n          {centre.setup_line()}")
    print(f"Lab       {world.root}: what it holds is guarded; try a copy of your own")
    print("Ctrl-C ends it and removes everything.", flush=True)
    while agent.service.process.poll() is None and centre.service.process.poll() is None:
        time.sleep(0.5)
    raise LabError("a part of the lab has ended by itself")


if __name__ == "__main__":
    sys.exit(main())
