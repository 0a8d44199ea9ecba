"""A search on trials that are there already (tabulated.py) or made up (surrogate.py): nothing is trained.

Samplers, the ledger's mirror and halving are the real ones; time is in epochs.
"""

from __future__ import annotations

import heapq
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.study.halving import ETA, LEAST_SEEN, RUNGS, Halving, Key, Verdict
from pipeline.study.ledger.curve_observations import rows_of_record
from pipeline.study.ledger.mirror import Mirror
from pipeline.study.ledger.outcomes import outcome_of
from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import FloatArray, Params, Rung, StudySpec, TrialRecord
from pipeline.study.space import Space, load_space
from tests.kit.synthetic import ANCHORS, spec

AT_ONCE = 2
FIXED = """
[rounds]
value = 1
[spectral_bound]
value = "off"
"""


class Problem(Protocol):
    """Trials as one search meets them, by their number and settings."""

    @property
    def constant(self) -> float:
        """The metric of a constant prediction."""

    @property
    def trials(self) -> int | None:
        """How many there are; None: no end."""

    def epochs(self, number: int, params: Params) -> float:
        """That a trial trains."""

    def rung(self, number: int, params: Params, index: int, part: float) -> Rung:
        """What a trial shows after a part of its training."""

    def end_so_far(self, number: int, params: Params, part: float) -> tuple[float, float]:
        """Metric and compression of the network that a trial would end with, after a part of its training."""

    def record(self, number: int, params: Params) -> tuple[TrialRecord, FloatArray]:
        """A whole trial, and what each of its points is worth on rows that no search sees."""


class OwnVolume(Halving):
    """Judges a trial by the hypervolume of its own curve, whatever the others add."""

    def keys(self, index: int) -> dict[int, Key]:
        return {number: (0.0, *own) for number, own in self._alone[index].items()}


@dataclass(frozen=True)
class Stops:
    """How trials are stopped."""

    eta: float = ETA
    rungs: tuple[float, ...] = RUNGS
    least_seen: int = LEAST_SEEN
    kind: type[Halving] = Halving

    def halving(self, spec: StudySpec) -> Halving:
        reference = (spec.anchors.constant, 0.0)
        return self.kind(spec.values, reference, eta=self.eta, rungs=self.rungs, least_seen=self.least_seen)

    def __str__(self) -> str:
        rungs = ", ".join(f"{part:g}" for part in self.rungs)
        by = "own hypervolume" if self.kind is OwnVolume else "what it adds"
        return f"eta {self.eta:.3g}, rungs {rungs}, from {self.least_seen} on, by {by}"


@dataclass(frozen=True)
class Way:
    """A way to search."""

    name: str
    sampler: str
    curve: bool = True  # the front has all points of a trial's curve
    taught: bool = False  # the sampler sees points of curves
    stops: Stops | None = None  # None: none is stopped
    eta: float | None = None  # of Syne Tune's MO-ASHA, which then draws and stops
    primo: bool = False  # NePS's PriMO draws and promotes

    def search(self, space: Space, problem: Problem, *, seed: int) -> Searched:
        """A search that has not begun."""
        if self.primo:
            from tests.benchmarks.primo import Primo

            return Primo(self, space, problem, seed=seed)
        if self.eta is None:
            return Searched(self, space, problem, seed=seed)
        from tests.benchmarks.moasha import MoAsha

        return MoAsha(self, space, problem, seed=seed, eta=self.eta)


@dataclass
class Outcome:
    """One search: (epochs trained, hypervolume of the chosen front on unseen rows) after each trial."""

    history: list[tuple[float, float]]
    trials: int
    stopped: int


class Searched:
    """A search in progress: ledger's mirror, halving, clock and front."""

    def __init__(self, way: Way, space: Space, problem: Problem, *, seed: int, starts: str = "") -> None:
        self.way, self.space, self.problem = way, space, problem
        self.records: list[TrialRecord] = []
        self.spec: StudySpec = replace(
            spec(),
            sampler=way.sampler,
            seed=seed,
            starts=starts,
            anchors=replace(ANCHORS, constant=problem.constant),
        )
        self.curves: dict[int, tuple[object, ...]] = {}
        self.mirror = Mirror([], self.curves)  # type: ignore[arg-type]
        self.halving = way.stops.halving(self.spec) if way.stops else None
        self.epochs = 0.0
        self.drawn = 0
        self.seen, self.truth = np.empty((0, 2)), np.empty(0)
        self.outcome = Outcome([], 0, 0)

    def run(self, *, epochs: float) -> Outcome:
        """Draws and runs trials until so many epochs have been trained, or there are no more."""
        running: list[tuple[float, int, int, Params, float]] = []  # when its next event is, ...
        now = 0.0
        while True:
            while len(running) < AT_ONCE and self.epochs < epochs and self.drawn != self.problem.trials:
                number, params = self.draw()
                self.drawn += 1
                heapq.heappush(running, self._next(now, number, 0, params, 0.0))
            if not running:
                return self.outcome
            now, number, stage, params, trained = heapq.heappop(running)
            total = self.problem.epochs(number, params)
            if stage < len(self.rungs):
                part = self.rungs[stage]
                self.epochs += part * total - trained
                verdict = self.judge(number, params, stage)
                if verdict.goes_on:
                    heapq.heappush(running, self._next(now, number, stage + 1, params, part * total))
                    continue
                self._end(
                    TrialRecord(number, "stopped", verdict.reason, params, 0, redundant=verdict.redundant)
                )
            else:
                self.epochs += total - trained
                self._end(*self.problem.record(number, params))

    @property
    def rungs(self) -> tuple[float, ...]:
        """The parts of its training after which a trial is looked at."""
        return () if self.halving is None else self.halving.rungs

    def draw(self) -> tuple[int, Params]:
        """The next trial."""
        drawn = self.mirror.draw(self.spec, self.space, start=10)
        return drawn.number, drawn.user_attrs["params"]

    def judge(self, number: int, params: Params, stage: int) -> Verdict:
        """Whether it goes on beyond a rung."""
        if self.halving is None:
            raise ValueError(f"Trials of {self.way.name!r} are not judged.")
        return self.halving.judge(number, self.problem.rung(number, params, stage, self.rungs[stage]))

    def told(self, record: TrialRecord) -> None:
        """A trial has ended."""
        self.mirror.end(record.number, outcome_of(record, self.spec))

    def _next(
        self, now: float, number: int, stage: int, params: Params, trained: float
    ) -> tuple[float, int, int, Params, float]:
        total = self.problem.epochs(number, params)
        return (now + (*self.rungs, 1.0)[stage] * total - trained, number, stage, params, trained)

    def _end(self, record: TrialRecord, truth: FloatArray | None = None) -> None:
        if self.way.taught:
            self.curves[record.number] = rows_of_record(record, self.spec)
        self.told(record)
        self.records.append(record)
        self.outcome.stopped += record.state == "stopped"
        self._added(record, truth)

    def _added(self, record: TrialRecord, truth: FloatArray | None) -> None:
        """Add a trial's points to the front, and the front to the history."""
        self.outcome.trials += 1
        if truth is not None and len(truth):
            points = record.points if self.way.curve else record.points[-1:]
            values = [[p.measurement.metric, p.measurement.compression] for p in points]
            self.seen = np.concatenate([self.seen, values])
            self.truth = np.concatenate([self.truth, truth if self.way.curve else truth[-1:]])
        chosen = front(self.seen)
        found = np.column_stack([self.truth[chosen], self.seen[chosen, 1]])
        self.outcome.history.append((self.epochs, hypervolume(found, (self.problem.constant, 0.0))))


def at(outcome: Outcome, epochs: float) -> float:
    """The hypervolume when so many epochs had been trained."""
    before = [volume for spent, volume in outcome.history if spent <= epochs]
    return before[-1] if before else 0.0


def needed(outcome: Outcome, volume: float) -> float:
    """The epochs after which a hypervolume was reached; infinity if it was not."""
    return next((spent for spent, found in outcome.history if found >= volume), float("inf"))


def fixed_space() -> Space:
    """SNIP's packaged space, of one round and without bounds: what the surrogate knows."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "fixed.toml"
        file.write_text(FIXED)
        return load_space("snip", file=file, pretrained=True)
