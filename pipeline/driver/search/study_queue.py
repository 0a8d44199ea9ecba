"""Where trials come from and where their ends go: store, ledger and MLflow, in that order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pipeline.driver.execute import Job
from pipeline.driver.search.budget import Budget, Meter
from pipeline.driver.search.watcher import SearchProgress, Watcher
from pipeline.driver.tracking import Publisher
from pipeline.fronts.front import Front
from pipeline.fronts.running_front import RunningFront
from pipeline.study.halving import Halving, Verdict
from pipeline.study.ledger import Ask, LeaseLost, Ledger, LedgerLost
from pipeline.study.provenance import provenance
from pipeline.study.records import Rung, StudySpec, TrialRecord
from pipeline.study.store import RETRY_PAUSES_S, Store

GATHER_EVERY = (
    25  # trials at least, and a quarter of all: gathering costs a part of each trial that stays the same
)

T = TypeVar("T")


class StudyQueue:
    """Gives the executor its trials, and takes each end to store, ledger and MLflow, in that order."""

    def __init__(
        self,
        spec: StudySpec,
        budget: Budget,
        *,
        store: Store,
        ledger: Ledger,
        courier: Publisher,
        watcher: Watcher,
        halving: Halving | None,
        meter: Meter,
        keep_all_weights: bool = False,
    ) -> None:
        self.keep_all_weights = keep_all_weights
        self.meter = meter
        self.volumes: list[float] = []  # after each trial that has ended, while that is asked for
        self.halving = halving
        self.verdicts: dict[int, Verdict] = {}
        self.spec, self.budget, self.store = spec, budget, store
        self.study = store.study(spec.name)
        self.ledger, self.courier, self.watcher = ledger, courier, watcher
        self.owed: list[Ask] = []
        self.running: dict[int, Ask] = {}
        self.tally: RunningFront | None = None
        self.not_gathered = 0
        self.unsure = False  # whether the ledger may hold a trial that we were not told of

    def settle(self) -> None:
        """Before the first trial: what earlier drivers left is told, or owed again."""
        self.study.refresh()
        found = self._patiently(lambda: self.ledger.reconcile(self.store))
        self.owed = list(found.owed)
        self._remember_rungs()
        for number in (*found.told, *found.lost):
            self.courier.ended(number)
        self.tally = RunningFront(self.spec, self.study.read_table())
        if not self.keep_all_weights:
            self.study.weights.keep_only(self.tally.front.points)
        self._recall_volumes()
        self._report(None)

    def has_work(self) -> bool:
        """Whether a trial is owed, or may be asked for."""
        return bool(self.owed) or self._may_ask()

    def next(self) -> Job | None:
        """An owed trial, else a new one, else None."""
        if self.owed:
            ask = self.owed.pop(0)
        elif self._may_ask():
            ask = self._patiently(self._ask)
        else:
            return None
        self.meter.tick(len(self.running))
        self.running[ask.number] = ask
        self._report(None)
        rungs = () if self.halving is None else self.halving.rungs
        return Job(ask.number, ask.params, ask.seed, rungs, self.watcher.beat_s)

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch, or says where it is."""
        self.meter.tick(len(self.running))
        self.watcher.heard(number, values)

    def rung(self, number: int, rung: Rung) -> bool:
        """Whether a trial goes on beyond a rung."""
        if self.halving is None:
            return True
        self.verdicts[number] = self.halving.judge(number, rung)
        return self.verdicts[number].goes_on

    def stopped(self, number: int) -> None:
        """A trial was stopped at a rung: what it has left of itself there becomes its record."""
        verdict, ask = self.verdicts[number], self.running[number]
        self.study.refresh(number)
        left = self.study.attempts(number).shown() or TrialRecord(
            number, "stopped", "", ask.params, ask.seed, provenance=provenance()
        )
        record = replace(left, state="stopped", reason=verdict.reason, redundant=verdict.redundant)
        self.study.write_record(record)
        self.study.attempts(number).clear()
        self.ended(number, None)

    def ended(self, number: int, error: str | None) -> None:
        """The trial's own record is the truth; without one it was lost."""
        self.meter.tick(len(self.running))
        self.study.refresh(number)
        ask = self.running[number]
        if not self.study.has_record(number):
            reason = error or "ended without a record"
            lost = TrialRecord(number, "failed", reason, ask.params, ask.seed, provenance=provenance())
            self.study.write_record(lost)
        record = self.study.read_record(number)
        self._patiently(lambda: self.ledger.tell(record))
        del self.running[number]
        self.verdicts.pop(number, None)
        self.courier.ended(number)
        if self.tally is not None:
            among = {number, *(point.trial for point in self.tally.front.points)}
            found = self.tally.add(self.study.read_trial(number))
            self.volumes.append(found.hypervolume)
            if not self.keep_all_weights:
                self.study.weights.keep_only(found.points, among=among)
        self._gather_sometimes()
        self._report(record)

    def store_away(self, number: int, *, ended: bool) -> None:
        """A trial's machine cannot reach the store: it waits, or has ended and is tried again, elsewhere if it can."""
        what = "ended, to be started again" if ended else "waits"
        self.watcher.warn(f"Trial {number} {what}: its machine does not reach the store.")
        self.meter.tick(len(self.running))
        if ended:
            self.store.check_reachable()

    def again(self, number: int, error: str | None) -> None:
        """A trial goes on in another process, from its last checkpoint."""
        why = "has lost its process or its node" if error is None else f"ended by {error}"
        self.watcher.warn(f"Trial {number} {why}; it goes on from its last checkpoint.")

    def close(self) -> None:
        """Gathers the records, and publishes the front; also on the way out of an interruption."""
        try:
            self.ledger.check()
        except LeaseLost:  # the study is another driver's now
            self.courier.abandon()
            return
        try:
            self._write_down()
        finally:
            done = self.courier.close("stopped" if self.running else "complete")
            self._pass_on()
        if not done:
            self.watcher.warn(
                "MLflow does not have all of this study yet; the next search brings it, or `prunefront studies --sync`."
            )

    def _write_down(self) -> None:
        """What the next driver is to find."""
        self.meter.tick(len(self.running))
        self.meter.note()
        for number in self.running:
            self.study.refresh(number)
            self.study.attempts(number).mark_interrupted()
        self.study.gather()

    def _recall_volumes(self) -> None:
        """The hypervolume after each trial of earlier drivers, if a budget asks for it."""
        if self.budget.flat is not None:
            replayed = RunningFront(self.spec, self.study.read_table().slice(0, 0))
            for number in self.study.ended_in_order():
                found = replayed.add(self.study.read_trial(number))
                self.volumes.append(found.hypervolume)

    def _remember_rungs(self) -> None:
        """What earlier drivers' trials showed at their rungs."""
        if self.halving is not None:
            numbers = self.study.finished_numbers() + [ask.number for ask in self.owed]
            for number in numbers:
                for rung in self.study.attempts(number).rungs():
                    self.halving.remember(number, rung)

    def _ask(self) -> Ask:
        """A new trial; or one that was written when the ledger's answer was lost."""
        if self.unsure:
            self.unsure = False
            known = {*self.running, *(ask.number for ask in self.owed)}
            left = [ask for ask in self.ledger.owed() if ask.number not in known]
            if left:
                return left[0]
        return self.ledger.ask()

    def _patiently(self, call: Callable[[], T]) -> T:
        """Waits for a ledger whose database is away for a while; running trials run on."""
        for pause in RETRY_PAUSES_S:
            try:
                return call()
            except LedgerLost as lost:
                if lost.disk_full:
                    raise
                self.unsure = True
                self.watcher.warn(f"{lost} Trying again in {pause} s.")
                time.sleep(pause)
        return call()

    def _may_ask(self) -> bool:
        if not self.budget.allows(self.meter.spent, self.volumes):
            return False
        counts = self.ledger.counts()
        return counts.ended + counts.running < self.budget.trials

    def _gather_sometimes(self) -> None:
        self.not_gathered += 1
        if self.tally is not None and self.not_gathered >= max(GATHER_EVERY, self.tally.front.trials // 4):
            self.study.gather()
            self.not_gathered = 0

    def _pass_on(self) -> None:
        for message in self.courier.messages():
            self.watcher.warn(message)

    def _report(self, record: TrialRecord | None) -> None:
        self._pass_on()
        counts = self.ledger.counts()
        front: Front | None = self.tally.front if self.tally is not None else None
        standing = SearchProgress(
            counts.ended,
            counts.stopped,
            counts.failed,
            tuple(self.running),
            front,
            budget=self.budget,
            spent=self.meter.spent,
        )
        self.watcher.stands(standing, record)
