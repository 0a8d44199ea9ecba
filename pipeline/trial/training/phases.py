"""The phases of a trial's training: stretches of one stream of batches, each with its own schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.trial.settings import TrialSettings


@dataclass(frozen=True)
class Phase:
    """Steps [first, first + steps) of a trial's stream of batches."""

    name: Literal["tune", "recover"]
    round: int
    first: int
    steps: int
    seed: int

    @property
    def end(self) -> int:
        """The step after the last."""
        return self.first + self.steps


def phases(settings: TrialSettings, *, train_rows: int, seed: int) -> tuple[Phase, ...]:
    """Divide a trial's stream of batches: `tune_epochs` over the rounds, then recovery.

    A ladder's recovery has a phase for each of its networks, of equal length, and each is a round of its own; a
    chain's is one phase, and a round of its own.
    """
    per_epoch, rounds = steps_per_epoch(train_rows, settings.batch_size), settings.rounds
    tune = round(settings.tune_epochs * per_epoch)
    ends = [round(tune * (i + 1) / rounds) for i in range(rounds)]
    tuning = [
        Phase("tune", i, first, end - first, seed)
        for i, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]
    recover = round(settings.recover_epochs * per_epoch)
    if not settings.climbs:
        return (*tuning, Phase("recover", rounds if settings.chains else rounds - 1, tune, recover, seed))
    count = settings.ladder_steps
    ends = [tune + round(recover * (i + 1) / count) for i in range(count)]
    ladder = [
        Phase("recover", rounds + i, first, end - first, seed)
        for i, (first, end) in enumerate(zip([tune, *ends[:-1]], ends, strict=True))
    ]
    return (*tuning, *ladder)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches in one epoch; the last one may be smaller."""
    return -(-rows // batch_size)


def schedule(step: int, *, steps: int, warmup_fraction: float) -> float:
    """Return the factor on the learning rate at a step: linear warm-up, then linear decay to 0 at `steps`."""
    warmup = math.ceil(warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (steps - step) / (steps - warmup)
