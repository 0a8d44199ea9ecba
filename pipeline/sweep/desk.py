"""Where trials come from and where their ends go: ledger, store and MLflow, in that order."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.execute import Job
from pipeline.fronts import Front, load_front
from pipeline.provenance import provenance
from pipeline.records import StudySpec, TrialRecord
from pipeline.store import Store
from pipeline.study import Ask, Ledger
from pipeline.sweep.watching import Standing, Watcher
from pipeline.tracking import Tracker, TrackingLost

GATHER_EVERY = 25  # trials; records that are not gathered yet are read one by one


@dataclass(frozen=True)
class Budget:
    """When no more trials start: after so many of the study, or after so long of this command."""

    trials: int
    minutes: float | None = None


class StudyDesk:
    """Gives the executor its trials, and takes each end to ledger, store and MLflow, in that order."""

    def __init__(
        self,
        spec: StudySpec,
        budget: Budget,
        *,
        store: Store,
        ledger: Ledger,
        tracker: Tracker,
        watcher: Watcher,
    ) -> None:
        self.spec, self.budget, self.store = spec, budget, store
        self.ledger, self.tracker, self.watcher = ledger, tracker, watcher
        self.owed: list[Ask] = []
        self.running: dict[int, Ask] = {}
        self.deadline = time.monotonic() + 60 * budget.minutes if budget.minutes else None
        self.front: Front | None = None

    def settle(self) -> None:
        """Before the first trial: what earlier drivers left is told, published, or owed again."""
        found = self.ledger.reconcile(self.store)
        self.owed = list(found.owed)
        published = self.tracker.published()
        for number in self.store.finished_numbers(self.spec.name):
            if number not in published:
                self._publish(self.store.read_record(self.spec.name, number))
        self._report(None)

    def has_work(self) -> bool:
        """Whether a trial is owed, or may be asked for."""
        return bool(self.owed) or self._may_ask()

    def next(self) -> Job | None:
        """An owed trial, else a new one, else None."""
        if self.owed:
            ask = self.owed.pop(0)
        elif self._may_ask():
            ask = self.ledger.ask()
        else:
            return None
        self.running[ask.number] = ask
        self._report(None)
        return Job(ask.number, ask.params, ask.seed)

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch."""
        self.watcher.heard(number, values)

    def ended(self, number: int, error: str | None) -> None:
        """The trial's own record is the truth; without one it was lost."""
        ask = self.running.pop(number)
        if not self.store.has_record(self.spec.name, number):
            reason = error or "ended without a record"
            lost = TrialRecord(number, "failed", reason, ask.params, ask.seed, provenance=provenance())
            self.store.write_record(self.spec.name, lost)
        record = self.store.read_record(self.spec.name, number)
        self.ledger.tell(record)
        self._publish(record)
        self._report(record)

    def close(self) -> None:
        """Gathers the records, and publishes the front; also on the way out of an interruption."""
        for number in self.running:
            self.store.mark_interrupted(self.spec.name, number)
        self.store.gather(self.spec.name)
        table = self.store.read_table(self.spec.name)
        try:
            self.tracker.publish_front(load_front(self.spec.name, store=self.store.root), table.to_pydict())
            self.tracker.finish_study("stopped" if self.running else "complete")
        except TrackingLost as lost:
            self.watcher.warn(f"{lost} The front is not there yet; the next search brings it.")

    def _may_ask(self) -> bool:
        counts = self.ledger.counts()
        in_time = self.deadline is None or time.monotonic() < self.deadline
        return in_time and counts.ended + counts.running < self.budget.trials

    def _publish(self, record: TrialRecord) -> None:
        """MLflow is a view: if it fails, trials go on, and the next start publishes what is missing."""
        try:
            self.tracker.publish(record)
        except TrackingLost as lost:
            self.watcher.warn(f"{lost} Trial {record.number} is not there yet; the next search brings it.")

    def _publish_standing(self, found: Front) -> None:
        try:
            self.tracker.publish_standing(found)
        except TrackingLost as lost:
            self.watcher.warn(str(lost))

    def _report(self, record: TrialRecord | None) -> None:
        if record is not None or self.front is None:
            if record is not None and record.number % GATHER_EVERY == GATHER_EVERY - 1:
                self.store.gather(self.spec.name)
            self.front = load_front(self.spec.name, store=self.store.root)
            self.store.weights(self.spec.name).keep_only(self.front.points)
            self._publish_standing(self.front)
        counts = self.ledger.counts()
        standing = Standing(counts.ended, self.budget.trials, len(self.running), counts.failed, self.front)
        self.watcher.stands(standing, record)
