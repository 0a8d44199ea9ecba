"""Asynchronous successive halving for fronts: which trials go on, judged by what their curves add.

At a rung (a fraction of its training) a trial shows the curve that it would give if it ended there, in the study's
own objectives: its metric against its gain (compression, saved MACs, saved latency). It goes on if
it is among the best 1 / ETA of the trials seen at that rung so far (ASHA, arXiv 1810.05934, algorithm 2; the
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

# Ours, by tests/benchmarks/search_economy. Of the trials that a full run puts alone on the front ETA = 2 stops four of
# ten, ETA = 4/3 one of eleven; more where it begins with the fourth trial: a quantile of four is mostly noise.
RUNGS = (0.25, 0.5)  # of a trial's training
ETA = 4 / 3  # of those seen at a rung, one in ETA goes on
LEAST_SEEN = 8  # at a rung before anybody is stopped there

Reference = tuple[float, float]
Key = tuple[float, float, float]
Values = Callable[[Mapping[str, FloatArray]], FloatArray]  # columns [P] -> (metric, gain) [P, 2]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a trial at a rung."""

    goes_on: bool
    redundant: bool = False
    reason: str = ""


class Halving:
    """The rungs of a study, and what was seen at each. Not aware of what runs the trials."""

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
        """A trial was at a rung: of an earlier driver, or now."""
        if rung.index < len(self._seen):
            curve = self._values(rung.columns())
            self._seen[rung.index][number] = curve
            self._alone[rung.index][number] = alone(curve, self._reference)

    def judge(self, number: int, rung: Rung) -> Verdict:
        """Whether the trial goes on beyond the rung."""
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
        """Of the trials seen at a rung: what each one's curve adds to the others', its hypervolume, its spread."""
        added = contributions(self._seen[index], self._reference)
        return {number: (added.get(number, 0.0), *own) for number, own in self._alone[index].items()}


def alone(curve: FloatArray, reference: Reference) -> tuple[float, float]:
    """A curve's hypervolume, and how far apart in gain the useful points of its own front are."""
    useful = curve[(curve[:, 0] > reference[0]) & np.isfinite(curve).all(axis=1)]
    spread = float(np.ptp(useful[front(useful), 1])) if len(useful) else 0.0
    return hypervolume(curve, reference), spread


def contributions(seen: dict[int, FloatArray], reference: Reference) -> dict[int, float]:
    """The hypervolume that each curve adds to the union of the others'; those that add nothing may be left out.

    Only who stands on the union's front adds. Without one of these, the others of them and the front of all the
    rest are what is left: few points, however many trials were seen.
    """
    numbers = list(seen)
    points = np.concatenate([seen[number] for number in numbers])
    owners = np.repeat(numbers, [len(seen[number]) for number in numbers])
    standing = np.unique(owners[front(points)])
    stands = np.isin(owners, standing)
    rest = points[~stands]
    rest = rest[front(rest)]
    points, owners = points[stands], owners[stands]
    together = hypervolume(points, reference)
    return {
        int(number): max(
            0.0, together - hypervolume(np.concatenate([points[owners != number], rest]), reference)
        )
        for number in standing
    }


def within_noise(curve: FloatArray, seen: dict[int, FloatArray], reference: Reference, *, rows: int) -> bool:
    """Whether a curve lies, on average over the gain, less than a standard error below the union of all.

    The standard error is that of an accuracy at the union's best metric, over `rows` rows.
    """
    points = np.concatenate(list(seen.values()))
    points = points[(points > reference).all(axis=1)]
    if not len(points):
        return True  # nobody is better than a constant prediction yet
    best = float(np.clip(points[:, 0].max(), 0.0, 1.0))
    error = math.sqrt(max(best * (1 - best), 1 / rows) / rows)
    gap = hypervolume(points, reference) - hypervolume(curve, reference)
    return gap <= error * float(points[:, 1].max())
