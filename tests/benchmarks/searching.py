"""A search on surrogate.py's trials: the real samplers, mirror and halving; nothing is trained, time is in epochs."""

from __future__ import annotations

import heapq
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.halving import ETA, LEAST_SEEN, RUNGS, Halving, Key, Verdict
from pipeline.pareto import front, hypervolume
from pipeline.records import Params, StudySpec, TrialRecord
from pipeline.space import Space, load_space
from pipeline.study.curves import rows_of_record
from pipeline.study.ends import end_of
from pipeline.study.mirror import Mirror
from tests.benchmarks import surrogate
from tests.synthetic import ANCHORS, spec

REFERENCE = (surrogate.CONSTANT, 0.0)
AT_ONCE = 2
FIXED = """
[rounds]
value = 1
[spectral_bound]
value = "off"
"""


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
        return self.kind(spec.values, REFERENCE, eta=self.eta, rungs=self.rungs, least_seen=self.least_seen)

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

    def search(self, space: Space, *, seed: int) -> Searched:
        """A search that has not begun."""
        if self.eta is None:
            return Searched(self, space, seed=seed)
        from tests.benchmarks.moasha import MoAsha

        return MoAsha(self, space, seed=seed, eta=self.eta)


@dataclass
class Outcome:
    """One search: (epochs trained, true hypervolume of the chosen front) after each trial."""

    history: list[tuple[float, float]]
    trials: int
    stopped: int


class Searched:
    """A search in progress: ledger's mirror, halving, clock and front."""

    def __init__(
        self,
        way: Way,
        space: Space,
        *,
        seed: int,
        task: surrogate.Task = surrogate.STANDARD,
        starts: str = "",
    ) -> None:
        self.way, self.space, self.task = way, space, task
        self.records: list[TrialRecord] = []
        self.spec: StudySpec = replace(
            spec(),
            sampler=way.sampler,
            seed=seed,
            starts=starts,
            anchors=replace(ANCHORS, constant=surrogate.CONSTANT),
        )
        self.curves: dict[int, tuple[object, ...]] = {}
        self.mirror = Mirror([], self.curves)  # type: ignore[arg-type]
        self.halving = way.stops.halving(self.spec) if way.stops else None
        self.noise = np.random.default_rng([seed, 1])
        self.epochs = 0.0
        self.seen, self.truth = np.empty((0, 2)), np.empty(0)
        self.outcome = Outcome([], 0, 0)

    def run(self, *, epochs: float) -> Outcome:
        """Draws and runs trials until so many epochs have been trained."""
        running: list[tuple[float, int, int, Params, float]] = []  # when its next event is, ...
        now = 0.0
        while True:
            while len(running) < AT_ONCE and self.epochs < epochs:
                number, params = self.draw()
                heapq.heappush(running, self._next(now, number, 0, params, 0.0))
            if not running:
                return self.outcome
            now, number, stage, params, trained = heapq.heappop(running)
            total = float(params["tune_epochs"]) + float(params["recover_epochs"])
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
                record, truth = surrogate.record(number, params, self.noise, self.task)
                self._end(record, truth)

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
        return self.halving.judge(
            number, surrogate.rung(params, stage, self.rungs[stage], self.noise, self.task)
        )

    def told(self, record: TrialRecord) -> None:
        """A trial has ended."""
        self.mirror.end(record.number, end_of(record, self.spec))

    def _next(
        self, now: float, number: int, stage: int, params: Params, trained: float
    ) -> tuple[float, int, int, Params, float]:
        total = float(params["tune_epochs"]) + float(params["recover_epochs"])
        return (now + (*self.rungs, 1.0)[stage] * total - trained, number, stage, params, trained)

    def _end(self, record: TrialRecord, truth: np.ndarray | None = None) -> None:
        if self.way.taught:
            self.curves[record.number] = rows_of_record(record, self.spec)
        self.told(record)
        self.records.append(record)
        self.outcome.trials += 1
        self.outcome.stopped += record.state == "stopped"
        if truth is not None:
            points = record.points if self.way.curve else record.points[-1:]
            values = [[p.measurement.metric, p.measurement.compression] for p in points]
            self.seen = np.concatenate([self.seen, values])
            self.truth = np.concatenate([self.truth, truth if self.way.curve else truth[-1:]])
        chosen = front(self.seen)
        found = np.column_stack([self.truth[chosen], self.seen[chosen, 1]])
        self.outcome.history.append((self.epochs, hypervolume(found, REFERENCE)))


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
