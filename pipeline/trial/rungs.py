"""Rungs: the points in mid-training where a trial is measured, the rows it is measured on, and the result.

The measurement itself is done by monitor.py: the network is copied, and the copy is scored and cut step by step on a
part of validation, as at the end of a round; in recovery the curve's points and the network as it is are taken.
Network, method, optimizer and random numbers are not changed: a trial with rungs has the same record as one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.study.records import RUNG_COLUMNS, Measurement, Rung
from pipeline.task.batches import IntArray, Split
from pipeline.trial.training.phases import Phase

RUNG_STEPS = 8  # networks on a rung's curve
RUNG_ROWS = 512  # of validation: the standard error of an accuracy is then at most 2.2 points


def rung_steps(phases: Sequence[Phase], fractions: Iterable[float]) -> dict[int, int]:
    """Return the rungs by the number of steps of the trial's stream of batches after which they come.

    A rung is a fraction of all steps of a trial, so that trials of different length can be compared. A rung that falls
    on a cut comes one step before it.
    """
    total, cuts = phases[-1].end, {phase.end for phase in phases}
    steps = {round(fraction * total): index for index, fraction in enumerate(fractions)}
    steps = {(step - 1 if step in cuts else step): index for step, index in steps.items()}
    return {step: index for step, index in steps.items() if 0 < step < total}


def rung_split(validation: Split) -> Split:
    """Return the rows of validation that rungs are measured on."""
    if len(validation) <= RUNG_ROWS:
        return validation
    if validation.units is None:
        return validation.take(rung_rows(len(validation)))
    units = np.unique(validation.units)  # whole queries or questions
    some = units[:: -(-len(validation) // RUNG_ROWS)]
    return validation.take(np.flatnonzero(np.isin(validation.units, some)))


def rung_rows(count: int) -> IntArray:
    """Return the numbers of RUNG_ROWS of `count` rows, evenly spread, the same for all trials."""
    return np.linspace(0, count - 1, min(count, RUNG_ROWS)).round().astype(np.int64)


def make_rung(index: int, epoch: float, found: Sequence[Measurement], *, rows: int) -> Rung:
    """Make a rung's result: of each network all possible objectives that were measured.

    Args:
        index: of the rung.
        epoch: trained so far.
        found: the measured networks.
        rows: the number of rows that they were measured on.
    """
    columns = {name: [getattr(m, name) for m in found] for name in RUNG_COLUMNS}
    measured = {name: tuple(values) for name, values in columns.items() if None not in values}
    return Rung(index, epoch, rows, **measured)
