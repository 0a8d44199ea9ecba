"""A study's records as trials end: read once, added to the front so far, gathered into the study's table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from pipeline.fronts.front import Front
from pipeline.fronts.running_front import RunningFront
from pipeline.study.halving import Verdict
from pipeline.study.provenance import provenance
from pipeline.study.records import OBJECTIVES, Ask, FrontSoFar, Rung, StudySpec, TrialRecord
from pipeline.study.store import Store

# Trials between two gatherings at least, and a quarter of all: so the cost per trial does not grow with the study.
GATHER_EVERY = 25


class StudyResults:
    """The records of one study, in the driver: what the store has, and what follows from it."""

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        *,
        keep_all_weights: bool = False,
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin before the study is settled: `start` reads what earlier drivers left.

        Args:
            spec: of the study.
            store: where its records are.
            keep_all_weights: of networks that are not on the front, too.
            may_write: called before every write; raises LeaseLost if another driver has taken over.
        """
        self.spec, self.store, self.study = spec, store, store.study(spec.name)
        self.volumes: list[float] = []  # hypervolume after each ended trial, in the order of their ends
        self._keep_all_weights, self._may_write = keep_all_weights, may_write
        self._running_front: RunningFront | None = None
        self._not_gathered: list[pa.Table] = []  # rows of trials that have ended since the last gathering

    @property
    def front(self) -> Front | None:
        """The front so far; None before `start`."""
        return None if self._running_front is None else self._running_front.front

    def front_so_far(self) -> FrontSoFar | None:
        """Return what a new network has to stand beside for its weights to be kept; None if all are."""
        objective, anchors = OBJECTIVES[self.spec.objective], self.spec.anchors
        if self._keep_all_weights or not (anchors.known or objective.direction == "maximize"):
            return None
        points = () if self.front is None else self.front.points
        return FrontSoFar(objective.name, anchors, tuple((point.metric, point.gain) for point in points))

    def start(self, *, recall_volumes: bool) -> None:
        """Read the study's table; with `recall_volumes`, replay the hypervolume after each trial of earlier drivers."""
        self._may_write()
        self.study.complete_all()
        table = self.study.read_table()
        self._running_front = RunningFront(self.spec, table)
        if not self._keep_all_weights:
            # only of these: another driver may take over, and end a trial that this front does not know
            weights = self.study.weights
            among = {*weights.with_weights()} & {*table["number"].unique().to_pylist()}
            weights.keep_only(self._running_front.front.points, among=among)
        if recall_volumes:
            replayed = RunningFront(self.spec, table.slice(0, 0))
            self.volumes = [replayed.add(rows).hypervolume for rows in self._in_order(table)]

    def freeze(self, spec: StudySpec) -> None:
        """Take the spec whole, now that its dense network is trained."""
        self.spec = spec
        if self._running_front is not None:
            self._running_front.freeze(spec)

    def rungs(self, numbers: Iterable[int]) -> Iterator[tuple[int, Rung]]:
        """Yield what trials of earlier drivers showed at their rungs: ended trials, and those of `numbers`."""
        for number in [*self.study.finished_numbers(), *numbers]:
            for rung in self.study.attempts(number).rungs():
                yield number, rung

    def stop(self, ask: Ask, verdict: Verdict) -> None:
        """Make a record of what a trial left at the rung where it was stopped."""
        self.study.refresh(ask.number)
        attempts = self.study.attempts(ask.number)
        left = attempts.record_at_rung() or TrialRecord(
            ask.number, "stopped", "", ask.params, ask.seed, provenance=provenance()
        )
        record = replace(left, state="stopped", reason=verdict.reason, redundant=verdict.redundant)
        begun = attempts.folders()
        self._may_write()  # after it was seen which attempts have begun: a later driver's are not removed
        self.study.write_record(record)
        self.study.complete(ask.number, begun)

    def read(self, ask: Ask, error: str | None) -> tuple[TrialRecord, pa.Table]:
        """Return an ended trial's record and its rows; a trial without a record was lost because of `error`."""
        self.study.refresh(ask.number)
        if not self.study.has_record(ask.number):
            self.give_up(ask, error or "ended without a record")
        return self.study.read_trial(ask.number)

    def give_up(self, ask: Ask, reason: str) -> None:
        """Write a trial's record as failed, unless it has one, and complete it."""
        begun = self.study.attempts(ask.number).folders()
        count = max(len(begun), 1)
        lost = TrialRecord(
            ask.number, "failed", reason, ask.params, ask.seed, attempts=count, provenance=provenance()
        )
        self._may_write()  # after it was seen which attempts have begun: a later driver's are not removed
        self.study.write_record(lost)
        self.study.complete(ask.number, begun)

    def add(self, number: int, rows: pa.Table) -> None:
        """Add an ended trial to the front, and drop the weights of networks that have left it."""
        if self._running_front is None:
            raise RuntimeError("Trials are added to a study that was started: call start first.")
        self._may_write()
        among = {number, *(point.trial for point in self._running_front.front.points)}
        found = self._running_front.add(rows)
        self.volumes.append(found.hypervolume)
        if not self._keep_all_weights:
            self.study.weights.keep_only(found.points, among=among)
        self._not_gathered.append(rows)
        if len(self._not_gathered) >= max(GATHER_EVERY, found.trials // 4):
            self.gather()

    def gather(self) -> None:
        """Bring the study's table up to date."""
        self._may_write()
        self.study.gather(self._not_gathered)
        self._not_gathered = []

    def interrupt(self, numbers: Iterable[int]) -> None:
        """Note that the running trials were interrupted: it is no failure of theirs."""
        for number in numbers:
            self.study.refresh(number)
            self.study.attempts(number).mark_interrupted()

    def _in_order(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield each trial's rows, in the order in which the trials ended."""
        numbers = table["number"].to_numpy()  # sorted
        for number in self.study.ended_in_order():
            first, last = numbers.searchsorted([number, number + 1])
            yield table.slice(first, last - first)
