"""Asynchronous successive halving for fronts: stops trials whose curves add little to the front.

At a rung (a fraction of its training) a trial reports the curve that it would give if it ended there, in the study's
objectives: its metric against its gain (compression, saved MACs, saved latency). It goes on if
it is among the best 1 / ETA of the trials that have reached that rung (ASHA, arXiv 1810.05934, algorithm 2; the
number of rungs and ETA differ). Best means, in this order:

    1. the hypervolume that its curve adds to the union of the others' at that rung,
    2. the hypervolume of its curve alone (most contributions are exactly zero),
    3. the spread of its curve over the gain.

A trial that is stopped although its curve lies within noise of the rung's front is redundant, not bad.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import FloatArray, Rung

# Chosen by tests/benchmarks/search_economy. Of the trials that are alone on the front of a full run, ETA = 2 stops four
# of ten and ETA = 4/3 one of eleven; more if LEAST_SEEN is 4: a quantile of four is mostly noise.
RUNGS = (0.25, 0.5)  # of a trial's training
ETA = 4 / 3  # of the trials at a rung, one in ETA goes on
LEAST_SEEN = 8  # trials at a rung before one is stopped there

Reference = tuple[float, float]
Key = tuple[float, float, float]
Values = Callable[[Mapping[str, FloatArray]], FloatArray]  # columns [P] -> (metric, gain) [P, 2]


@dataclass(frozen=True)
class Verdict:
    """The decision about a trial at a rung."""

    goes_on: bool
    redundant: bool = False
    reason: str = ""


class Halving:
    """The rungs of a study and the curves seen at each; independent of the executor."""

    def __init__(
        self,
        values: Values,
        reference: Reference,
        *,
        rungs: tuple[float, ...] = RUNGS,
        eta: float = ETA,
        least_seen: int = LEAST_SEEN,
    ) -> None:
        self.rungs = rungs
        self._values, self._reference, self._eta, self._least_seen = values, reference, eta, least_seen
        self._seen: list[dict[int, FloatArray]] = [{} for _ in rungs]
        self._alone: list[dict[int, tuple[float, float]]] = [{} for _ in rungs]

    def remember(self, number: int, rung: Rung) -> None:
        """Add the curve of a trial at a rung, whether of this driver or an earlier one."""
        if rung.index < len(self._seen):
            curve = self._values(rung.columns())
            self._seen[rung.index][number] = curve
            self._alone[rung.index][number] = volume_and_spread(curve, self._reference)

    def judge(self, number: int, rung: Rung) -> Verdict:
        """Add the curve of a trial at a rung, and return whether the trial goes on."""
        self.remember(number, rung)
        if rung.index >= len(self._seen):
            return Verdict(True)
        seen = self._seen[rung.index]
        if len(seen) < self._least_seen:
            return Verdict(True)
        keys = self.keys(rung.index)
        better = sum(key > keys[number] for key in keys.values())
        stay = math.ceil(len(seen) / self._eta)
        if better < stay:
            return Verdict(True)
        redundant = within_noise(seen[number], seen, self._reference, rows=rung.rows)
        where = f"at {self.rungs[rung.index]:.0%} of its training, {better} of {len(seen)} trials were better"
        why = f"; it was within noise of the best ({rung.rows} rows)" if redundant else ""
        return Verdict(False, redundant, f"{where}{why}")

    def keys(self, index: int) -> dict[int, Key]:
        """Return the ranking keys of the trials at a rung: hypervolume added to the others, own hypervolume, spread."""
        added = contributions(self._seen[index], self._reference)
        return {number: (added.get(number, 0.0), *own) for number, own in self._alone[index].items()}


def volume_and_spread(curve: FloatArray, reference: Reference) -> tuple[float, float]:
    """Return a curve's hypervolume, and the range in gain of the useful points on its own front."""
    useful = curve[(curve[:, 0] > reference[0]) & np.isfinite(curve).all(axis=1)]
    spread = float(np.ptp(useful[front(useful), 1])) if len(useful) else 0.0
    return hypervolume(curve, reference), spread


def contributions(seen: dict[int, FloatArray], reference: Reference) -> dict[int, float]:
    """Return the hypervolume that each curve adds to the union of the others; curves that add 0 may be missing.

    Only curves with a point on the union's front add volume. The union without such a curve is made of the other
    such curves and the front of all the rest: few points, for any number of trials.
    """
    numbers = list(seen)
    points = np.concatenate([seen[number] for number in numbers])
    owners = np.repeat(numbers, [len(seen[number]) for number in numbers])
    on_front = np.unique(owners[front(points)])
    kept = np.isin(owners, on_front)
    rest = points[~kept]
    rest = rest[front(rest)]
    points, owners = points[kept], owners[kept]
    together = hypervolume(points, reference)
    return {
        int(number): max(
            0.0, together - hypervolume(np.concatenate([points[owners != number], rest]), reference)
        )
        for number in on_front
    }


def within_noise(curve: FloatArray, seen: dict[int, FloatArray], reference: Reference, *, rows: int) -> bool:
    """Return whether a curve lies, on average over the gain, less than a standard error below the union of all.

    The standard error is that of an accuracy at the union's best metric, over `rows` rows.
    """
    points = np.concatenate(list(seen.values()))
    points = points[(points > reference).all(axis=1)]
    if not len(points):
        return True  # no point is above the constant baseline yet
    best = float(np.clip(points[:, 0].max(), 0.0, 1.0))
    error = math.sqrt(max(best * (1 - best), 1 / rows) / rows)
    gap = hypervolume(points, reference) - hypervolume(curve, reference)
    return gap <= error * float(points[:, 1].max())
