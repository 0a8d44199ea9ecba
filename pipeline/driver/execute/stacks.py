"""Trials that are tuned in another one's process, as one stack: each starts when it has left the stack.

    leader ─ tunes itself and the others ─ reports that all have left ─ goes on by itself
    others ─ wait ───────────────────────────────────────────────────── start, from their checkpoints

Where the leader ends in any other way, the others start all the same, and begin anew if they left no checkpoint.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pipeline.study.records import Ask

if TYPE_CHECKING:
    from pipeline.driver.execute.protocol import TrialQueue


@dataclass
class _Stack:
    leader: int
    others: list[Ask]
    stopped: set[int] = field(default_factory=set)  # they do not go on beyond a rung that they have reached


@final
class Stacks:
    """The stacks that run now, by Tune's id of their leader, and the trials that have left one and may start."""

    def __init__(self, size: int) -> None:
        """Take how many trials are one stack, at most; 1: none are."""
        self._size = size
        self._running: dict[str, _Stack] = {}
        self._left: deque[Ask] = deque()

    def form(self, trial_id: str, leader: Ask, queue: TrialQueue) -> tuple[Ask, ...]:
        """Take trials beside a leader from the queue, and return them."""
        others: list[Ask] = []
        while len(others) < self._size - 1 and (ask := queue.next()) is not None:
            queue.on_wait(ask.number, ended=False)
            others.append(ask)
        if others:
            self._running[trial_id] = _Stack(leader.number, others)
        return tuple(others)

    def next(self) -> Ask | None:
        """Return a trial that has left its stack, to be started."""
        return self._left.popleft() if self._left else None

    def waits(self) -> bool:
        """Return whether trials are still to start."""
        return bool(self._running or self._left)

    def stop(self, trial_id: str, number: int) -> bool:
        """Note that a trial stops when it leaves its stack; return whether it is in one."""
        stack = self._running.get(trial_id)
        if stack is not None:
            stack.stopped.add(number)
        return stack is not None

    def release(self, trial_id: str, queue: TrialQueue) -> bool:
        """Let all leave a stack: those that were stopped end here; return whether the leader is one of them."""
        stack = self._running.pop(trial_id, None)
        if stack is None:
            return False
        for ask in stack.others:
            queue.on_wait(ask.number, ended=True)
            if ask.number in stack.stopped:
                queue.on_stop(ask.number)
            else:
                self._left.append(ask)
        return stack.leader in stack.stopped
