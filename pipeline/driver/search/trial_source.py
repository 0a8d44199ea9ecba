"""Where a study's trials come from: those that earlier drivers left, then new ones while the budget allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.driver.search.budget import Budget, Meter
from pipeline.study.ledger import CommitsLost, Counts, Found, Ledger, LedgerLost
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import RETRY_PAUSES_S, Store

T = TypeVar("T")


class TrialSource:
    """The ledger's trials within a budget: owed ones, running ones, and new ones.

    A ledger whose database does not answer is tried again after pauses, while running trials run on.
    """

    def __init__(self, ledger: Ledger, budget: Budget, meter: Meter, *, warn: Callable[[str], None]) -> None:
        """Begin with no trials: `settle` finds those of earlier drivers.

        Args:
            ledger: the study's trials and how each ended.
            budget: when no more trials start.
            meter: what the study has used so far.
            warn: called before each retry.
        """
        self.ledger, self.budget, self.meter = ledger, budget, meter
        self.owed: list[Ask] = []
        self.running: dict[int, Ask] = {}
        self._waiting: set[int] = set()  # of those that run: tuned in another one's process
        self._warn = warn
        self._unsure = False  # whether the ledger may hold a trial whose answer was lost

    def settle(self, store: Store) -> Found:
        """Bring ledger and store into line, and take over the trials that are owed."""
        found = self.retrying(lambda: self.ledger.reconcile(store))
        self.owed = list(found.owed)
        return found

    def has_next(self, volumes: list[float]) -> bool:
        """Return whether a trial is owed or may be drawn; `volumes`: hypervolume after each ended trial."""
        return bool(self.owed) or self._may_ask(volumes)

    def next(self, volumes: list[float]) -> Ask | None:
        """Return an owed trial, else a new one, else None. It counts as running from now on."""
        if self.owed:
            self.ledger.check()
            ask = self.owed.pop(0)
        elif self._may_ask(volumes):
            ask = self.retrying(self._ask)
        else:
            return None
        self.tick()
        self.running[ask.number] = ask
        return ask

    def end(self, record: TrialRecord) -> None:
        """Write to the ledger how a running trial ended."""
        self.retrying(lambda: self.ledger.tell(record))
        del self.running[record.number]

    def tick(self) -> None:
        """Count the time since the last call for all running trials that have a process of their own."""
        self.meter.tick(len(self.running.keys() - self._waiting))

    def wait(self, number: int, *, ended: bool) -> None:
        """Note that a running trial is tuned in another one's process, or no longer."""
        self.tick()
        if ended:
            self._waiting.discard(number)
        else:
            self._waiting.add(number)

    def counts(self) -> Counts:
        """Return how many trials are in which state."""
        return self.ledger.counts()

    def retrying(self, call: Callable[[], T]) -> T:
        """Call again after pauses while the ledger's database does not answer."""
        for pause in RETRY_PAUSES_S:
            try:
                return call()
            except LedgerLost as lost:
                if lost.disk_full or isinstance(lost, CommitsLost):
                    raise
                self._unsure = True
                self._warn(f"{lost} Trying again in {pause} s.")
                time.sleep(pause)
        return call()

    def _may_ask(self, volumes: list[float]) -> bool:
        if not self.budget.allows(self.meter.spent, volumes):
            return False
        counts = self.counts()
        return counts.ended + counts.running < self.budget.trials

    def _ask(self) -> Ask:
        """Return a new trial; or one that was written when the ledger's answer was lost."""
        if self._unsure:
            self._unsure = False
            known = {*self.running, *(ask.number for ask in self.owed)}
            left = [ask for ask in self.ledger.owed() if ask.number not in known]
            if left:
                return left[0]
        return self.ledger.ask()
