"""Ratios of turns that are taken in pairs, and the table they make."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Turn = Callable[[], float]  # does its work, returns what it cost in seconds


@dataclass(frozen=True)
class Row:
    """One ratio: its median over pairs, and quartiles. A `unit` other than × says that it is none."""

    benchmark: str
    what: str
    ratio: float
    low: float
    high: float
    pairs: int
    base: str  # what the ratio is against, with its own cost
    goal: float | None = None
    unit: str = "×"


@dataclass(frozen=True)
class Missing:
    """A ratio that could not be measured here, and why."""

    benchmark: str
    what: str
    why: str


def compare(
    benchmark: str,
    what: str,
    *,
    turn: Turn,
    against: Turn,
    base: str,
    pairs: int,
    goal: float | None = None,
    scale: float = 1.0,
    warm: bool = True,
) -> Row:
    """Both take turns, in changing order; the first pair warms up and is not counted.

    `scale` multiplies the ratio: where one turn does only a known part of the work that it stands for.
    """
    ratios, costs = [], []
    for pair in range(pairs + warm):
        if pair % 2:
            cost = turn()
            alone = against()
        else:
            alone = against()
            cost = turn()
        ratios.append(scale * cost / alone)
        costs.append(alone / scale)
    ratios, costs = ratios[warm:], costs[warm:]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    shown = f"{base}: {1_000 * statistics.median(costs):,.0f} ms"
    return Row(benchmark, what, middle, low, high, len(ratios), shown, goal)


def clock() -> float:
    """Seconds: of the process's own CPU time, which other work on the machine disturbs least; on a GPU of the wall."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(work: Callable[[], object]) -> float:
    """What the work costs."""
    start = clock()
    work()
    return clock() - start
