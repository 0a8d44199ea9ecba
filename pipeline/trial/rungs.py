"""Where a trial is looked at in mid-training, on which rows, and what it then shows.

The look itself is a trial's (trial.py): its network is copied, the copy is scored and cut step by step on a part of
validation, as at the end of a round; a trial in recovery shows what it has found and what it has made of its cut
network. Network, method, optimizer and random numbers stay as they were: a trial that is looked at gives the record
of one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.study.records import RUNG_COLUMNS, Measurement, Rung
from pipeline.task.batches import IntArray, Split
from pipeline.trial.training.phases import Phase

RUNG_STEPS = 8  # networks of a rung's curve
RUNG_ROWS = 512  # of validation: the standard error of an accuracy is then at most 2.2 points


def rung_steps(phases: Sequence[Phase], fractions: Iterable[float]) -> dict[int, int]:
    """Steps of a trial's stream of batches -> the rung that comes after them.

    A rung is a fraction of all the steps that a trial trains, so that trials of different length compare. One that
    falls on a cut comes a step before it.
    """
    total, cuts = phases[-1].end, {phase.end for phase in phases}
    steps = {round(fraction * total): index for index, fraction in enumerate(fractions)}
    steps = {(step - 1 if step in cuts else step): index for step, index in steps.items()}
    return {step: index for step, index in steps.items() if 0 < step < total}


def part_of(validation: Split) -> Split:
    """The rows that rungs are measured on."""
    return validation if len(validation) <= RUNG_ROWS else validation.take(seen_rows(len(validation)))


def seen_rows(count: int) -> IntArray:
    """Which of `count` validation rows: RUNG_ROWS of them, evenly spread, the same for all trials."""
    return np.linspace(0, count - 1, min(count, RUNG_ROWS)).round().astype(np.int64)


def rung_of(index: int, epoch: float, found: Sequence[Measurement], *, rows: int) -> Rung:
    """What a trial shows: of each network all that a study may be searched on, as far as it was measured."""
    columns = {name: [getattr(m, name) for m in found] for name in RUNG_COLUMNS}
    measured = {name: tuple(values) for name, values in columns.items() if None not in values}
    return Rung(index, epoch, rows, **measured)
