"""The budgets of a study over all of its drivers: when no more trials start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from pipeline.study.records import BadInput
from pipeline.study.store import Spent, Store

FLAT = 1e-3  # a hypervolume that has risen by less than this part of itself has not risen
NOTE_EVERY_S = 30.0


@dataclass(frozen=True)
class Budget:
    """The study ends at the first budget that is reached; trials that are running then are completed."""

    trials: int
    minutes: float | None = None  # of running drivers: the time between them does not count
    gpu_hours: float | None = None  # of GPUs assigned to trials, lost trials included
    flat: int | None = None  # ended trials in a row that did not raise the hypervolume

    def check(self) -> None:
        """Refuse a budget that allows nothing.

        Raises:
            BadInput: a budget is zero or negative.
        """
        if self.trials <= 0:
            raise BadInput(f"--trials is {self.trials}. A study has at least one trial.")
        if self.minutes is not None and self.minutes <= 0:
            raise BadInput(f"--minutes is {self.minutes:g}. Give more than 0.")
        if self.gpu_hours is not None and self.gpu_hours <= 0:
            raise BadInput(f"--gpu-hours is {self.gpu_hours:g}. Give more than 0.")
        if self.flat is not None and self.flat <= 0:
            raise BadInput(f"--until-hypervolume-flat is {self.flat}. Give 1 or more.")

    def allows(self, spent: Spent, volumes: list[float]) -> bool:
        """Return whether time and progress allow more trials; the number of trials is not checked.

        Args:
            spent: what the study has used up to now.
            volumes: the hypervolume after each trial that has ended.
        """
        if self.minutes is not None and spent.seconds >= 60 * self.minutes:
            return False
        if self.gpu_hours is not None and spent.gpu_seconds >= 3600 * self.gpu_hours:
            return False
        if self.flat is None or len(volumes) <= self.flat:
            return True
        return volumes[-1] - volumes[-1 - self.flat] > FLAT * volumes[-1]


@final
class Meter:
    """Counts what a study uses, starting from what its earlier drivers have recorded.

    A driver that is killed loses what it used since it last recorded it, at most NOTE_EVERY_S.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        *,
        gpus_per_trial: float,
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with what is recorded; `may_write` raises LeaseLost if another driver has taken over."""
        self._file, self.gpus_per_trial = store.study(study).spent, gpus_per_trial
        self._may_write = may_write
        self.spent = self._file.read()
        self._last = self._noted = time.monotonic()

    def tick(self, running: int) -> None:
        """Add the time since the last tick; `running` trials ran during it."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        before = self.spent
        self.spent = Spent(
            before.seconds + passed, before.gpu_seconds + passed * running * self.gpus_per_trial
        )
        if now - self._noted >= NOTE_EVERY_S:
            self.note()

    def note(self) -> None:
        """Write what the study has used to its folder."""
        self._noted = time.monotonic()
        self._may_write()
        self._file.write(self.spent)
