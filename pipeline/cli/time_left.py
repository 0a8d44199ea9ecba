"""How long a search will still take, from what its trials have taken so far."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

MOST_DONE = 0.9  # of a trial whose epochs are over: its networks are still measured
LEAST_DONE = 0.25  # of a trial, below which nothing is said


def seconds_left(*, trial_s: float, running: Sequence[float], waiting: int, slots: int) -> float:
    """Return the time until the last trial has ended.

    Args:
        trial_s: seconds of a trial, on average.
        running: for each running trial, the part of it that is done, 0 to 1.
        waiting: trials that are still to start.
        slots: trials that run at once.
    """
    free_s = [(1 - min(done, MOST_DONE)) * trial_s for done in running]
    free_s += [0.0] * max(0, slots - len(free_s), 1 - len(free_s))
    heapify(free_s)
    for _ in range(waiting):
        heappush(free_s, heappop(free_s) + trial_s)
    return max(free_s)


class Clock:
    """The seconds that trials have run, all together, and how many of them have ended."""

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.ended = 0
        self.slots = 0
        self._running, self._since_s = 0, 0.0

    def change(self, now_s: float, *, running: int, ended: int, slots: int = 1) -> None:
        """Note how many trials run from now on, how many have ended since the first call, and how many may run at once.

        Fewer run while a dense network is trained beside them.
        """
        self.busy_s += self._running * (now_s - self._since_s)
        self._running, self._since_s, self.ended = running, now_s, ended
        self.slots = max(self.slots, running, slots)

    def seconds_left(self, now_s: float, *, running: Sequence[float], waiting: int) -> float | None:
        """Return the time until the last trial has ended; None while too little is done to estimate it.

        Args:
            now_s: the time, on the clock of `change`.
            running: for each running trial, the part of it that is done, 0 to 1.
            waiting: trials that are still to start.
        """
        done = self.ended + sum(min(part, MOST_DONE) for part in running)
        if done < LEAST_DONE or not (running or waiting):
            return None
        trial_s = (self.busy_s + self._running * (now_s - self._since_s)) / done
        return seconds_left(trial_s=trial_s, running=running, waiting=waiting, slots=self.slots)
