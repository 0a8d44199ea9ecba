"""A study's table decoded: its trials, its measured networks, and the parameters that make each network again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.records import BoolArray, FloatArray, Params, State, StudySpec

Places = Sequence[int] | npt.NDArray[np.int64]


def curve_params(params: Params, *, threshold: float, share: float) -> Params:
    """Return the parameters in which a curve point differs from its trial.

    A curve point is the trial that cuts there and does not recover. It is cut at its own threshold; in a study of
    targets, its target is the share that it has reached.

    Args:
        params: those of the trial.
        threshold: of the point.
        share: compression of the point, or its sparsity in a study of single weights (`StudySpec.share`).
    """
    place = {"threshold": threshold} if "threshold" in params else {"target": share}
    return {**place, "recover_epochs": 0}


@dataclass(frozen=True)
class TrialRow:
    """A trial that has ended, without its points."""

    number: int
    state: State
    reason: str  # why it failed or was stopped
    epochs: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Points:
    """Networks of a study that were measured, sorted by trial and by their place among its points: P of them."""

    spec: StudySpec
    table: pa.Table  # P rows, with the columns of `table.COLUMNS`

    def __len__(self) -> int:
        """Return P."""
        return int(self.table.num_rows)

    @cached_property
    def values(self) -> FloatArray:
        """[P, 2]: metric and gain, both maximised."""
        second = self.spec.second
        columns = {"metric", second.column, second.dense} & set(self.table.column_names)
        return self.spec.values({name: self.table[name].to_numpy() for name in columns})

    @cached_property
    def on_curve(self) -> BoolArray:
        """[P]: whether a network was cut from a curve and not recovered."""
        return _mask(pc.equal(self.table["kind"], "curve"))

    def column(self, name: str) -> list[Any]:
        """Return a column as plain values; None where there is none."""
        return _plain(self.table[name])

    def params(self) -> list[Params]:
        """Return the parameters that make each network again: of a curve point, those of the trial that it is."""
        parsed: dict[str, Params] = {}  # a trial's parameters stand in each of its rows
        found = []
        columns = (self.column(name) for name in ("kind", "threshold", self.spec.share))
        for text, kind, threshold, share in zip(self._texts, *columns, strict=True):
            if text not in parsed:
                parsed[text] = json.loads(text)
            own = curve_params(parsed[text], threshold=threshold, share=share) if kind == "curve" else {}
            found.append(parsed[text] | own)
        return found

    def trial_params(self, place: int) -> Params:
        """Return the parameters of the trial that a network belongs to."""
        params: Params = json.loads(self._texts[place])
        return params

    def rows(self) -> list[dict[str, Any]]:
        """Return each network's columns by name, with its own `params`, and its `gain`."""
        rows = self.table.to_pylist()
        more = zip(self.params(), self.values[:, 1].tolist(), strict=True)
        return [
            row | {"params": params, "gain": gain} for row, (params, gain) in zip(rows, more, strict=True)
        ]

    def at(self, places: Places) -> Points:
        """Return the networks at these places, in that order."""
        return replace(self, table=self.table.take(pa.array(places, pa.int64())))

    def by_trial(self) -> Iterator[tuple[int, slice]]:
        """Yield the number of each trial and the places of its networks."""
        numbers = self.table["number"].to_numpy()
        for start, end in pairwise([*_starts(numbers).tolist(), len(numbers)]):
            yield int(numbers[start]), slice(start, end)

    @cached_property
    def _texts(self) -> list[str]:
        """The parameters of each network's trial, as JSON."""
        return self.column("params")


@dataclass(frozen=True, eq=False)
class StudyTable:
    """What a study's trials measured, and how each trial ended."""

    spec: StudySpec
    table: pa.Table  # as StudyStore.read_table returns it

    def points(self, *, complete: bool = True) -> Points:
        """Return the measured networks of complete trials; with `complete=False`, of all trials."""
        return self._complete if complete else self._measured(pc.is_valid(self.table["metric"]))

    @property
    def values(self) -> FloatArray:
        """[P, 2]: metric and gain of the measured networks of complete trials."""
        return self.points().values

    @cached_property
    def _complete(self) -> Points:
        state = pc.equal(self.table["state"], "complete")
        return self._measured(pc.and_(pc.is_valid(self.table["metric"]), state))

    def _measured(self, keep: pa.ChunkedArray) -> Points:
        mask = _mask(keep)
        return Points(self.spec, self.table if mask.all() else self.table.filter(pa.array(mask)))

    def trials(self) -> list[TrialRow]:
        """Return the trials that have ended, by number."""
        first = _starts(self.table["number"].to_numpy())
        rows = self.table.select([field.name for field in fields(TrialRow)]).take(pa.array(first))
        return [TrialRow(*row) for row in zip(*map(_plain, rows.columns), strict=True)]

    def of_trials(self, numbers: Iterable[int]) -> StudyTable:
        """Return the table of some trials."""
        kept = np.isin(self.table["number"].to_numpy(), list(numbers))
        return replace(self, table=self.table.filter(pa.array(kept)))


def _mask(values: pa.ChunkedArray) -> BoolArray:
    """Return booleans as numpy has them; null is False."""
    mask: BoolArray = pc.fill_null(values, False).to_numpy().astype(bool)
    return mask


def _starts(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the place of each trial's first row; the rows are sorted by trial."""
    return np.flatnonzero(np.diff(numbers, prepend=-1))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column, None for null, faster than `to_pylist` where that is possible."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    values: list[Any] = (
        column.to_numpy().tolist() if numeric and not column.null_count else column.to_pylist()
    )
    return values
