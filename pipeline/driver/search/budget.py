"""When no more trials start: budgets of a study, over all of its drivers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import final

from pipeline.study.records import BadInput
from pipeline.study.store import Spent, Store

FLAT = 1e-3  # a hypervolume that has risen by less than this part of itself has not risen
NOTE_EVERY_S = 30.0


@dataclass(frozen=True)
class Budget:
    """A study ends at the first of these that is reached; trials that run then are ended properly."""

    trials: int
    minutes: float | None = None  # that drivers ran the study: the time between them does not count
    gpu_hours: float | None = None  # of GPUs given to trials, those that were lost with theirs included
    flat: int | None = None  # ended trials in a row that have not raised the hypervolume

    def check(self) -> None:
        """Refuses what makes no sense.

        Raises:
            BadInput: a budget of nothing.
        """
        if self.trials <= 0:
            raise BadInput(f"A study has at least one trial; --trials is {self.trials}.")
        if self.minutes is not None and self.minutes <= 0:
            raise BadInput(f"A search runs for some time; --minutes is {self.minutes:g}.")
        if self.gpu_hours is not None and self.gpu_hours <= 0:
            raise BadInput(f"A search uses some of a GPU's time; --gpu-hours is {self.gpu_hours:g}.")
        if self.flat is not None and self.flat <= 0:
            raise BadInput(
                f"A hypervolume is flat after some trials; --until-hypervolume-flat is {self.flat}."
            )

    def allows(self, spent: Spent, volumes: list[float]) -> bool:
        """Whether the study may go on, its number of trials apart; `volumes`: hypervolume after each trial."""
        if self.minutes is not None and spent.seconds >= 60 * self.minutes:
            return False
        if self.gpu_hours is not None and spent.gpu_seconds >= 3600 * self.gpu_hours:
            return False
        if self.flat is None or len(volumes) <= self.flat:
            return True
        return volumes[-1] - volumes[-1 - self.flat] > FLAT * volumes[-1]


@final
class Meter:
    """What a study uses, counted on from what earlier drivers noted.

    A driver that is killed loses what it used since its last note, NOTE_EVERY_S at most.
    """

    def __init__(self, store: Store, study: str, *, gpus_per_trial: float) -> None:
        self._file, self.gpus_per_trial = store.study(study).spent, gpus_per_trial
        self.spent = self._file.read()
        self._last = self._noted = time.monotonic()

    def tick(self, running: int) -> None:
        """So many trials ran since the last tick."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        before = self.spent
        self.spent = Spent(
            before.seconds + passed, before.gpu_seconds + passed * running * self.gpus_per_trial
        )
        if now - self._noted >= NOTE_EVERY_S:
            self.note()

    def note(self) -> None:
        """Writes it down."""
        self._noted = time.monotonic()
        self._file.write(self.spent)
