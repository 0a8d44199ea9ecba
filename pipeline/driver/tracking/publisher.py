"""Publish ended trials to MLflow in a thread of its own: no trial and no ledger ever waits for it.

    record in the store ─► (a wake-up) ─► publisher's thread ─► MLflow

The publisher stores no state: owed is every trial that has a record and no complete run in MLflow. If any process is
killed, and however long MLflow is away, the next contact finds them and publishes them in the order of their ends.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar, final

from pipeline.driver.tracking.connection import TrackingLost
from pipeline.driver.tracking.published import data_tags
from pipeline.driver.tracking.tracker import Tracker
from pipeline.fronts.front import front_of, with_latency
from pipeline.fronts.running_front import RunningFront
from pipeline.study.ledger import LeaseLost, LedgerLost
from pipeline.study.provenance import provenance
from pipeline.study.records import State, StudySpec
from pipeline.study.store import Outbox, Store

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # between two tries to reach MLflow
LAST_TRIES = 2  # when the search has ended
SET_ASIDE = 3  # failures of one trial at a server that answers, after which the others go on without it
STILL_S = 60.0  # without progress at the end, after which the driver waits no more

T = TypeVar("T")


@final
class Publisher:
    """Publish one study. The driver calls `start`, `enqueue` and `close`; all else happens in the thread."""

    def __init__(
        self,
        spec: StudySpec,
        *,
        store: Store,
        open_tracker: Callable[[], Tracker],
        may_write: Callable[[], None],
        address: str,
    ) -> None:
        """Begin without contact.

        Args:
            spec: of the study.
            store: where its records are.
            open_tracker: raises BadInput if MLflow does not answer.
            may_write: raises LeaseLost if this driver may not write any more.
            address: of MLflow, for messages; without secrets.
        """
        self._spec, self._study = spec, store.study(spec.name)
        self._open, self._may_write = open_tracker, may_write
        self._address = address
        self._tracker: Tracker | None = None
        self._running_front: RunningFront | None = None  # of MLflow's trials; None while there is no contact
        self._owed: deque[int] = deque()
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._again: set[int] = set()  # trials whose runs are of records that are gone
        self._messages: SimpleQueue[str] = SimpleQueue()
        self._wake = threading.Event()
        self._ending: State | None = None
        self._away = False  # MLflow was lost, and a message was queued
        self._progress = 0
        self._refused: Counter[int] = Counter()  # failures by trial
        self.delivered = 0
        self.done = False  # everything is published, the front too
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def start(self, tracker: Tracker | None = None, *, spec: StudySpec | None = None) -> None:
        """Make first contact in the caller's thread if a `tracker` is open; then start the thread.

        Args:
            tracker: of MLflow.
            spec: of the study, where it was not whole when this was made.

        Raises:
            BadInput: MLflow answers, and is no place for this study.
        """
        self._spec, self._tracker = spec or self._spec, tracker
        if tracker is not None:
            try:
                self._connect()
            except (TrackingLost, LedgerLost) as lost:
                self._lose(lost)
        self._thread.start()

    def enqueue(self, number: int, *, again: bool = False) -> None:
        """Queue a trial whose record is in the store; `again`: MLflow may have a run of an earlier record."""
        if again:
            self._again.add(number)
        self._ended.put(number)
        self._wake.set()

    def messages(self) -> list[str]:
        """Return the messages for the user since the last call."""
        return _drained(self._messages)

    def close(self, state: State) -> bool:
        """Publish what is owed, the front, and how the study ended; return whether all of that succeeded.

        What is missing is noted in the store's outbox. Without an answer from MLflow this returns after about a minute.
        """
        self._ending = state
        self._wake.set()
        seen, since = self._progress, time.monotonic()
        while self._thread.is_alive() and time.monotonic() - since < STILL_S:
            self._thread.join(0.2)
            if self._progress != seen:
                seen, since = self._progress, time.monotonic()
        owed = sorted({*self._owed, *_drained(self._ended), *self._aside()})
        self.done = self.done and not owed
        with suppress(LedgerLost):
            self._may_write()
        self._study.outbox.write(None if self.done else Outbox(self._address, tuple(owed), state))
        return self.done

    def abandon(self) -> None:
        """Stop publishing: another driver has taken the study over."""
        self._may_write = _never
        self._wake.set()

    def _work(self) -> None:
        pause, tries = FIRST_PAUSE_S, 0
        while True:
            ending = self._ending
            try:
                self._publish_owed()
                if ending is not None:
                    self._finish(ending)
                    return
                pause = FIRST_PAUSE_S
                self._wake.wait()
            except LeaseLost:
                return
            except Exception as lost:  # the ledger's database, which has the lease, may be away, too
                self._lose(lost)
                tries += ending is not None
                if tries >= LAST_TRIES:
                    return
                pause = FIRST_PAUSE_S if ending is not None else pause
                # the end of a trial does not shorten the pause; the end of the search does
                until = time.monotonic() + pause
                while (left := until - time.monotonic()) > 0 and (self._ending is None or tries):
                    self._wake.wait(left)
                    self._wake.clear()
                pause = min(2 * pause, LONGEST_PAUSE_S)
            self._wake.clear()

    def _publish_owed(self) -> None:
        """Publish all owed trials, in the order of their ends."""
        if self._running_front is None:
            self._connect()
        self._owed.extend(_drained(self._ended))
        while self._owed:
            self._may_write()
            number = self._owed[0]
            try:
                self._publish(number)
            except (LeaseLost, LedgerLost):
                raise
            except Exception:
                self._refused[number] += 1
                raise
            self._owed.popleft()
            self._owed.extend(_drained(self._ended))

    def _publish(self, number: int) -> None:
        tracker, running_front = self._connected()
        if number in self._again:
            tracker.withdraw(number)
            self._again.discard(number)
        if number in tracker.published():
            tracker.publish_standing(running_front.front)  # it may have been lost although its trial was not
            return
        record, rows = self._study.read_trial(number)
        tracker.publish(record)
        tracker.publish_standing(running_front.add(rows))
        self._refused.pop(number, None)
        self.delivered += 1
        self._progress += 1
        if self._away:
            self._away = False
            self._messages.put(f"MLflow at {self._address} answers again; what it is owed is delivered.")

    def _finish(self, state: State) -> None:
        """Publish the front, and how the study ended."""
        self._may_write()
        tracker, _ = self._connected()
        table = self._study.read_points()
        found = with_latency(front_of(table), self._study.latency.read())
        tracker.publish_front(found, table.points())
        self._progress += 1
        tracker.finish_study(state)
        self.done = True

    def _connect(self) -> None:
        """Read what MLflow has, and so what it is owed."""
        self._may_write()
        if self._tracker is None:
            self._tracker = self._open()
        facts = provenance() | data_tags(self._study.data.read())
        self._tracker.start_study(self._spec, provenance=facts)
        there = self._tracker.published()
        self._progress += 1
        left_out = {*there, *self._aside()}
        self._owed = deque(n for n in self._study.ended_in_order() if n not in left_out)
        self._running_front = RunningFront(self._spec, self._study.read_points().of_trials(there).table)
        if there:  # a server may have been lost between a trial's run and the study's numbers after it
            self._tracker.publish_standing(self._running_front.front)

    def _aside(self) -> list[int]:
        return [number for number, times in self._refused.items() if times >= SET_ASIDE]

    def _connected(self) -> tuple[Tracker, RunningFront]:
        if self._tracker is None or self._running_front is None:
            raise RuntimeError("A trial is published after contact with MLflow: call _connect first.")
        return self._tracker, self._running_front

    def _lose(self, lost: Exception) -> None:
        """Note that contact is lost: the next one reads again what MLflow has, since an answer may be lost, too."""
        self._running_front = None
        if not self._away:
            self._messages.put(f"{lost} Trials go on; what MLflow is owed is delivered when it answers.")
        self._away = True


def _drained(queue: SimpleQueue[T]) -> list[T]:
    found: list[T] = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


def _never() -> None:
    raise LeaseLost("Another driver publishes this study.")
