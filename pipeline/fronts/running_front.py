"""A study's front, kept up to date trial by trial: what a trial's end costs does not grow with the study."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import final

import numpy as np
import pyarrow as pa

from pipeline.fronts.front import Front, front_of
from pipeline.study.records import StudySpec
from pipeline.study.store import StudyTable


@final
class RunningFront:
    """The front of the trials that were added, and the counts that go with it.

    A point that another one dominates adds nothing to any later front: only trials that stand on it are kept.
    """

    def __init__(self, spec: StudySpec, table: pa.Table) -> None:
        """Begin with the trials of `table`, which has the columns of `StudyStore.read_table`."""
        self._spec = spec
        self._front = front_of(StudyTable(spec, table))
        self._rows = _standing(table, self._front)

    @property
    def front(self) -> Front:
        """The front of all trials together, as `front_of` returns it."""
        return self._front

    def freeze(self, spec: StudySpec) -> None:
        """Take the spec whole, now that its dense network is trained."""
        self._spec, self._front = spec, replace(self._front, spec=spec)

    def add(self, rows: pa.Table) -> Front:
        """Add the rows of a trial that has not been added; return the front."""
        alone, before = front_of(StudyTable(self._spec, rows)), self._front
        together = pa.concat_tables([self._rows, rows]).unify_dictionaries()
        found = front_of(StudyTable(self._spec, together))
        self._rows = _standing(together, found)
        self._front = replace(
            found,
            trials=before.trials + alone.trials,
            seen=before.seen + alone.seen,
            below_constant=before.below_constant + alone.below_constant,
            left_out={state: count + alone.left_out[state] for state, count in before.left_out.items()},
            reasons=dict(Counter(before.reasons) + Counter(alone.reasons)),
            epochs=before.epochs + alone.epochs,
            seconds=before.seconds + alone.seconds,
        )
        return self._front


def _standing(table: pa.Table, found: Front) -> pa.Table:
    """Return the rows of the trials that are on the front."""
    trials = sorted({point.trial for point in found.points})
    return table.filter(pa.array(np.isin(table["number"].to_numpy(), trials)))
