"""The price of a search from the costs of its trials: their packing, how many fit into a budget, and the spread.

A search is simulated DRAWS times from single trials' epochs and seconds, which come from a probe or from an earlier
study. Each number of a price is the median of the simulations, with their 5th and 95th percentile.

Shapes: D simulations, N trials of the search.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.driver.search.budget import Budget
from pipeline.study.records import FloatArray

DRAWS = 200
SEED = 0  # the same plan has the same price each time
HOUR_S = 3600.0
SIMULATED = 10_000  # trials of a search; of a budget for more, these say how many fit


@dataclass(frozen=True)
class Number:
    """One number of a price: typical, and its probable range. `source` is what it was computed from."""

    typical: float
    low: float
    high: float
    unit: str
    source: str

    @staticmethod
    def of(values: Sequence[float] | FloatArray, unit: str, source: str) -> Number:
        """Summarise simulated values."""
        low, typical, high = np.percentile(np.asarray(values, dtype=np.float64), [5, 50, 95]).tolist()
        return Number(typical, low, high, unit, source)

    @staticmethod
    def exactly(value: float, unit: str, source: str) -> Number:
        """Make a number without a spread, or one that was measured once."""
        return Number(value, value, value, unit, source)


@dataclass(frozen=True)
class Cost:
    """The cost of one trial."""

    epochs: float
    seconds: float


@dataclass(frozen=True)
class Overhead:
    """The time before the first trial and after the last, in seconds; all but the dense networks are typical values."""

    dense: tuple[float, ...]  # of each dense network that is still to be trained
    dense_epochs: float  # of all of them
    opening: float  # Ray, the workers' start, the table of latencies
    closing: float  # the latency of the front's networks


@dataclass(frozen=True)
class Price:
    """The price of a search; None where it is not known."""

    study: str
    trials: int
    concurrent: int
    source: str  # "probe", or the study that was read
    epochs_per_trial: Number
    epochs: Number  # of the search, dense networks included
    minutes_per_trial: Number
    minutes: Number  # of the search, dense networks included
    dense_minutes: Number
    gpu_hours: Number | None  # of trials; None if they run on CPUs
    checkpoints_mb: Number  # peak
    front_mb: Number  # weights of the front's networks, at the end
    memory_mb: Number | None  # of one trial's process, at its peak
    gpu_memory_mb: Number | None
    fit_minutes: Number | None  # trials that fit into --minutes
    fit_gpu_hours: Number | None  # trials that fit into --gpu-hours


# One simulation: a generator of random numbers -> the costs of endless trials, in the order in which they start.
Trials = Callable[[np.random.Generator], Callable[[int], Cost]]


def makespan(seconds: Sequence[float], *, slots: int) -> float:
    """Return when the last job ends, if jobs start in order, each as soon as a slot is free."""
    free = [0.0] * max(1, slots)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def started_within(cost: Callable[[int], Cost], *, slots: int, seconds: float) -> int:
    """Count the trials that start within a time; none starts after it, running ones are finished.

    Beyond SIMULATED trials the count grows with the time as it did until then.
    """
    free, number = [0.0] * max(1, slots), 0
    while free[0] < seconds:
        if number == SIMULATED:
            return _at_this_rate(number, free[0], seconds)
        heapq.heapreplace(free, free[0] + cost(number).seconds)
        number += 1
    return number


def started_before(cost: Callable[[int], Cost], *, slots: int, seconds: float) -> int:
    """Count the trials that start while those before them have used less than `seconds` in total.

    Beyond SIMULATED trials the count grows with what they use as it did until then.
    """
    free, number, ended = [0.0] * max(1, slots), 0, 0.0
    running: list[tuple[float, float]] = []  # (start, end)
    while True:
        now = free[0]
        ended += sum(end - start for start, end in running if end <= now)
        running = [(start, end) for start, end in running if end > now]
        used = ended + sum(now - start for start, _ in running)
        if used >= seconds:
            return number
        if number == SIMULATED:
            return _at_this_rate(number, used, seconds)
        running.append((now, now + cost(number).seconds))
        heapq.heapreplace(free, now + cost(number).seconds)
        number += 1


def _at_this_rate(number: int, used_s: float, seconds: float) -> int:
    return round(number * seconds / used_s) if used_s else number


def simulate(trials: Trials) -> list[Callable[[int], Cost]]:
    """Simulate DRAWS searches; each is a function from a trial's number to its cost."""
    root = np.random.default_rng(SEED)
    return [trials(generator) for generator in root.spawn(DRAWS)]


@dataclass(frozen=True)
class Basis:
    """What a price is computed from."""

    source: str
    trials: Trials
    overhead: Overhead
    memory_mb: Number | None
    gpu_memory_mb: Number | None
    checkpoint_mb: float
    front_mb: Number


def price(basis: Basis, *, name: str, slots: int, gpus: float, budget: Budget) -> Price:
    """Price a search.

    Args:
        basis: costs of its trials and overhead.
        name: of its study.
        slots: trials that run at once.
        gpus: of each trial.
        budget: of the search.
    """
    overhead, source, trials = basis.overhead, basis.source, budget.trials
    searches = simulate(basis.trials)
    each = [[cost(number) for number in range(trials)] for cost in searches]
    dense = makespan(overhead.dense, slots=slots)
    aside = overhead.opening + dense + overhead.closing
    whole = [aside + makespan([cost.seconds for cost in one], slots=slots) for one in each]
    used = [gpus * sum(cost.seconds for cost in one) / HOUR_S for one in each]
    fit_minutes = fit_gpu_hours = None
    if budget.minutes is not None:  # the budget's clock starts with the first trial
        within = 60 * budget.minutes
        fit_minutes = [started_within(cost, slots=slots, seconds=within) for cost in searches]
    if budget.gpu_hours is not None and gpus:
        before = HOUR_S * budget.gpu_hours / gpus
        fit_gpu_hours = [started_before(cost, slots=slots, seconds=before) for cost in searches]
    return Price(
        study=name,
        trials=trials,
        concurrent=slots,
        source=source,
        epochs_per_trial=Number.of([cost.epochs for one in each for cost in one], "epochs", source),
        epochs=Number.of(
            [overhead.dense_epochs + sum(cost.epochs for cost in one) for one in each], "epochs", source
        ),
        minutes_per_trial=Number.of([cost.seconds / 60 for one in each for cost in one], "min", source),
        minutes=Number.of([seconds / 60 for seconds in whole], "min", source),
        dense_minutes=Number.exactly(dense / 60, "min", source if overhead.dense else "store"),
        gpu_hours=Number.of(used, "h", source) if gpus else None,
        # a new checkpoint is whole before the old one is deleted
        checkpoints_mb=Number.exactly(2 * slots * basis.checkpoint_mb, "MB", source),
        front_mb=basis.front_mb,
        memory_mb=basis.memory_mb,
        gpu_memory_mb=basis.gpu_memory_mb,
        fit_minutes=None if fit_minutes is None else Number.of(fit_minutes, "trials", source),
        fit_gpu_hours=None if fit_gpu_hours is None else Number.of(fit_gpu_hours, "trials", source),
    )
