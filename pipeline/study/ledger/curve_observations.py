"""What the sampler learns from a trial beside its end: points of its curve.

A curve point is exactly the trial with that threshold (or target) and `recover_epochs = 0`: it is shown to the
sampler as such. Only in the view that a sampler is handed, never in the ledger: there, a trial is one trial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.pareto import front
from pipeline.study.records import Params, StudySpec, TrialRecord

MOST_ROWS = 4  # per trial: many rows of equal settings would swamp what other trials say


@dataclass(frozen=True)
class CurveObservation:
    """A trial that was not run, and what it would have given: the settings in which it differs, its objectives."""

    params: Params
    values: tuple[float, ...]


def rows_of_record(record: TrialRecord, spec: StudySpec) -> tuple[CurveObservation, ...]:
    """The rows of a trial that has ended."""
    curve = [point for point in record.points if point.kind == "curve"]
    if record.state != "complete" or not curve:
        return ()
    measured = [vars(point.measurement) for point in curve]
    columns = {"threshold": [point.threshold for point in curve]}
    columns |= {name: [one[name] for one in measured] for name in measured[0] if name != "metrics"}
    return rows_of(record.params, columns, spec)


def rows_of_table(table: pa.Table, spec: StudySpec) -> dict[int, tuple[CurveObservation, ...]]:
    """The rows of all trials of a study's table, as `store.read_table` gives it, by number."""
    keep = pc.and_(pc.equal(table["state"], "complete"), pc.equal(table["kind"], "curve"))
    curves = table.filter(pc.fill_null(keep, False))
    numbers = curves["number"].to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    found: dict[int, tuple[CurveObservation, ...]] = {}
    for start, end in pairwise(starts if len(numbers) else ()):
        columns = curves.slice(start, end - start).to_pydict()
        found[int(numbers[start])] = rows_of(json.loads(columns["params"][0]), columns, spec)
    return found


def rows_of(params: Params, columns: Mapping[str, Any], spec: StudySpec) -> tuple[CurveObservation, ...]:
    """At most MOST_ROWS of a curve, spread over its own front; `columns` have P values, as in a study's table.

    Points no better than the constant prediction say nothing that the others do not. Of a trial in rounds, a
    threshold decides about the earlier cuts, too: its curve is no other trial's.
    """
    if int(params.get("rounds", 1)) != 1:
        return ()
    values = spec.values({name: np.array(column) for name, column in columns.items() if name != "params"})
    thresholds = np.array(columns["threshold"], dtype=np.float64)
    useful = np.flatnonzero((values[:, 0] > spec.anchors.constant) & np.isfinite(thresholds))
    useful = useful[front(values[useful])]
    if not len(useful):
        return ()
    gains = values[useful, 1]
    chosen = sorted(
        {int(np.abs(gains - place).argmin()) for place in np.linspace(gains[0], gains[-1], MOST_ROWS)}
    )
    key = "threshold" if "threshold" in params else "target"
    places = thresholds if key == "threshold" else np.array(columns[spec.share], dtype=np.float64)
    return tuple(
        CurveObservation({key: float(places[at]), "recover_epochs": 0}, tuple(values[at].tolist()))
        for at in useful[chosen]
    )
