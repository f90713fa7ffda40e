"""Samples taken with and without, and the table that they end in."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

WIDTHS = (51, 26, 26, 15)
HEADINGS = ("what", "without", "with", "medians / pairs", "target")


@dataclass
class Row:
    """One line of the table. What is measured once has no `without`."""

    what: str
    unit: str
    with_it: list[float]
    without: list[float] | None = None
    target: str = ""

    def cells(self) -> tuple[str, ...]:
        ratio = ""
        if self.without:
            medians = statistics.median(self.with_it) / statistics.median(self.without)
            pairs = statistics.median(one / other for one, other in zip(self.with_it, self.without))
            ratio = f"{medians:.2f} / {pairs:.2f}"
        without = spread(self.without, self.unit) if self.without else "-"
        return self.what, without, spread(self.with_it, self.unit), ratio, self.target


class Missing(Exception):
    """The row cannot be measured here; says what is missing."""


def spread(samples: list[float], unit: str) -> str:
    """The median, with the least and the most where there are several."""
    middle = f"{short(statistics.median(samples))} {unit}".rstrip()
    return middle if len(samples) == 1 else f"{middle} ({short(min(samples))}-{short(max(samples))})"


def short(number: float) -> str:
    """Three digits, or as many as a whole number has."""
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.3g}"


def line(cells: tuple[str, ...]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS)]
    return "  ".join([*padded, *cells[len(WIDTHS):]]).rstrip()


def alternate(times: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
    """Takes `times` samples of each side in turn, every other round in the opposite order, so that what
    drifts or disturbs falls on all of them."""
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(times):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            samples[name].append(sides[name]())
    return samples


@dataclass
class Spent:
    """What a command took."""

    seconds: float
    processor: float


def spend(command: list[str], **more: object) -> Spent:
    """Runs a command and its children to their end."""
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more) as child:
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))[:200]}: exit status {child.returncode}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime)


def wait_until(what: str, patience: float, found: Callable[[], object], pause: float = 0.1) -> object:
    """Waits for something to be found, no longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        result = found()
        if result:
            return result
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {patience:.0f} s there is still no {what}")
        time.sleep(pause)
