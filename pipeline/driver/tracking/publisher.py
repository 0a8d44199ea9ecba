"""Takes what has ended to MLflow, in a thread of its own: no trial, and no ledger, ever waits for it.

    record in the store ─► (a wake-up) ─► courier's thread ─► MLflow

What is owed is not kept here: it is every trial that has a record and no whole run in MLflow. So whoever dies, and
however long MLflow is away, the next contact finds it, and delivers it in the order in which the trials ended.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar, final

from pipeline.driver.tracking.connection import TrackingLost
from pipeline.driver.tracking.tracker import Tracker
from pipeline.fronts.front import front_of, with_latency
from pipeline.fronts.running_front import RunningFront
from pipeline.study.ledger import LeaseLost
from pipeline.study.provenance import provenance
from pipeline.study.records import BadInput, State, StudySpec
from pipeline.study.store import Outbox, Store

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # between two tries to reach MLflow
LAST_TRIES = 2  # when the search has ended
SET_ASIDE = 3  # times that one trial was not taken by a server that answers: the others go on without it
STILL_S = 60.0  # at the end, a server that has taken nothing for so long is not waited for

T = TypeVar("T")


@final
class Publisher:
    """Publishes one study. `start`, `ended` and `close` are the driver's; all else happens in the thread."""

    def __init__(
        self,
        spec: StudySpec,
        *,
        store: Store,
        open_tracker: Callable[[], Tracker],
        may_write: Callable[[], None],
        address: str,
    ) -> None:
        """`open_tracker` raises BadInput if nobody answers; `may_write` raises LeaseLost if we may not any more."""
        self._spec, self._study = spec, store.study(spec.name)
        self._open, self._may_write = open_tracker, may_write
        self._address = address
        self._tracker: Tracker | None = None
        self._running_front: RunningFront | None = None  # of what MLflow has; None while there is no contact
        self._owed: deque[int] = deque()
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._said: SimpleQueue[str] = SimpleQueue()
        self._wake = threading.Event()
        self._ending: State | None = None
        self._away = False  # MLflow was lost, and that has been said
        self._progress = 0
        self._refused: Counter[int] = Counter()  # how often MLflow did not take a trial
        self.delivered = 0
        self.done = False  # everything is there, the front too
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def start(self, tracker: Tracker | None = None) -> None:
        """First contact, in the caller's thread: `tracker` if one is open; then the courier goes to work.

        Raises:
            BadInput: MLflow answers, and is no place for this study.
        """
        self._tracker = tracker
        if tracker is not None:
            try:
                self._meet()
            except TrackingLost as lost:
                self._lose(lost)
        self._thread.start()

    def enqueue(self, number: int) -> None:
        """Queue a trial whose record is in the store."""
        self._ended.put(number)
        self._wake.set()

    def messages(self) -> list[str]:
        """What a person should know, since the last time."""
        return _drained(self._said)

    def close(self, state: State) -> bool:
        """Delivers what is owed, the front, and how the study ended. Whether all of that is there.

        What is not there is noted in the store's outbox; it returns in about a minute if MLflow does not answer.
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
        self._study.outbox.write(None if self.done else Outbox(self._address, tuple(owed), state))
        return self.done

    def abandon(self) -> None:
        """Another driver publishes the study from now on."""
        self._may_write = _never
        self._wake.set()

    def _work(self) -> None:
        pause, tries = FIRST_PAUSE_S, 0
        while True:
            ending = self._ending
            try:
                self._deliver()
                if ending is not None:
                    self._finish(ending)
                    return
                pause = FIRST_PAUSE_S
                self._wake.wait()
            except LeaseLost:
                return
            except (TrackingLost, BadInput) as lost:
                self._lose(lost)
                tries += ending is not None
                if tries >= LAST_TRIES:
                    return
                pause = FIRST_PAUSE_S if ending is not None else pause
                # a trial that ends is no reason to ask again sooner; the search's end is
                until = time.monotonic() + pause
                while (left := until - time.monotonic()) > 0 and (self._ending is None or tries):
                    self._wake.wait(left)
                    self._wake.clear()
                pause = min(2 * pause, LONGEST_PAUSE_S)
            self._wake.clear()

    def _deliver(self) -> None:
        """All that is owed, in the order of its ending."""
        if self._running_front is None:
            self._meet()
        self._owed.extend(_drained(self._ended))
        while self._owed:
            self._may_write()
            number = self._owed[0]
            try:
                self._publish(number)
            except TrackingLost:
                self._refused[number] += 1
                raise
            self._owed.popleft()
            self._owed.extend(_drained(self._ended))

    def _publish(self, number: int) -> None:
        tracker, running_front = self._met()
        if number in tracker.published():
            tracker.publish_standing(running_front.front)  # which may have been lost when its trial was not
            return
        record, rows = self._study.read_trial(number)
        tracker.publish(record)
        tracker.publish_standing(running_front.add(rows))
        self._refused.pop(number, None)
        self.delivered += 1
        self._progress += 1
        if self._away:
            self._away = False
            self._said.put(f"MLflow at {self._address} answers again; what it is owed is delivered.")

    def _finish(self, state: State) -> None:
        """The front, and how the study ended."""
        self._may_write()
        tracker, _ = self._met()
        table = self._study.read_points()
        found = with_latency(front_of(table), self._study.latency.read())
        tracker.publish_front(found, table.points())
        self._progress += 1
        tracker.finish_study(state)
        self.done = True

    def _meet(self) -> None:
        """Finds out what MLflow has, and so what it is owed."""
        self._may_write()
        if self._tracker is None:
            self._tracker = self._open()
        self._tracker.start_study(self._spec, provenance=provenance())
        there = self._tracker.published()
        self._progress += 1
        left_out = {*there, *self._aside()}
        self._owed = deque(n for n in self._study.ended_in_order() if n not in left_out)
        self._running_front = RunningFront(self._spec, self._study.read_points().of_trials(there).table)
        if there:  # a server may have been lost between a trial's run and how the study stood after it
            self._tracker.publish_standing(self._running_front.front)

    def _aside(self) -> list[int]:
        return [number for number, times in self._refused.items() if times >= SET_ASIDE]

    def _met(self) -> tuple[Tracker, RunningFront]:
        if self._tracker is None or self._running_front is None:
            raise RuntimeError("A courier delivers to an MLflow that it has met.")
        return self._tracker, self._running_front

    def _lose(self, lost: Exception) -> None:
        """Contact is lost: the next one finds out anew what is there, since an answer may have been lost, too."""
        self._running_front = None
        if not self._away:
            self._said.put(f"{lost} Trials go on; what MLflow is owed is delivered when it answers.")
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
