"""What the sampler learns from a trial beside its outcome: points of its curve.

A curve point is exactly the trial with that threshold (or target) and `recover_epochs = 0`: the
sampler's view has it as such. Never the ledger: there, a trial is one trial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.pareto import front
from pipeline.study.records import FloatArray, Params, StudySpec, TrialRecord
from pipeline.study.store import StudyTable, curve_params

MOST_ROWS = 4  # per trial: many rows of equal settings would outweigh the other trials


@dataclass(frozen=True)
class CurveObservation:
    """A trial that was not run, and what it would have given: the settings in which it differs, its objectives."""

    params: Params
    values: tuple[float, ...]


def rows_of_record(record: TrialRecord, spec: StudySpec) -> tuple[CurveObservation, ...]:
    """Return the observations of a trial that has ended."""
    curve = [point for point in record.points if point.kind == "curve"]
    if record.state != "complete" or not curve:
        return ()
    measured = [vars(point.measurement) for point in curve]
    columns = {name: np.array([one[name] for one in measured]) for name in measured[0] if name != "metrics"}
    thresholds = np.array([point.threshold for point in curve], dtype=np.float64)
    return _observations(record.params, spec, spec.values(columns), thresholds, columns[spec.share])


def rows_of_table(table: StudyTable) -> dict[int, tuple[CurveObservation, ...]]:
    """Return the observations of all trials of a study's table, by number."""
    points, spec = table.points(), table.spec
    curves = points.at(np.flatnonzero(points.on_curve))
    thresholds, shares = (np.array(curves.column(name), np.float64) for name in ("threshold", spec.share))
    return {
        number: _observations(
            curves.trial_params(own.start), spec, curves.values[own], thresholds[own], shares[own]
        )
        for number, own in curves.by_trial()
    }


def _observations(
    params: Params, spec: StudySpec, values: FloatArray, thresholds: FloatArray, shares: FloatArray
) -> tuple[CurveObservation, ...]:
    """Return at most MOST_ROWS points of a curve, spread over its own front.

    Points no better than the constant prediction add no information. Of a trial in rounds, a threshold decides about
    the earlier cuts, too: its curve is no other trial's.

    Args:
        params: those of the trial.
        spec: of the study.
        values: metric and gain of the curve's points, [P, 2].
        thresholds: [P]
        shares: compression or sparsity, [P].
    """
    if int(params.get("rounds", 1)) != 1:
        return ()
    useful = np.flatnonzero((values[:, 0] > spec.anchors.constant) & np.isfinite(thresholds))
    useful = useful[front(values[useful])]
    if not len(useful):
        return ()
    gains = values[useful, 1]
    chosen = sorted(
        {int(np.abs(gains - place).argmin()) for place in np.linspace(gains[0], gains[-1], MOST_ROWS)}
    )
    return tuple(
        CurveObservation(
            curve_params(params, threshold=float(thresholds[at]), share=float(shares[at])),
            tuple(values[at].tolist()),
        )
        for at in useful[chosen]
    )
