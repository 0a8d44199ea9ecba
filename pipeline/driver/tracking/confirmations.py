"""A confirmed point in MLflow: a run of its own below the study's, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.driver.tracking.connection import PARENT, Connection
from pipeline.driver.tracking.published import STUDY, shown
from pipeline.driver.tracking.values import Value
from pipeline.fronts.confirmed import Confirmed, ConfirmedPoint
from pipeline.study.records import StudySpec

CONFIRMED = "prunefront.confirmed"  # tag of a confirmed point's run: trial/point
NAME, NOTE = "mlflow.runName", "mlflow.note.content"


def publish(
    connection: Connection, experiment_id: str, found: Confirmed, *, above: Mapping[str, str]
) -> None:
    """Write a run for each confirmed point, or bring it up to date; `above` are the tags that place it."""
    below = connection.runs(experiment_id, tag=PARENT, value=above[PARENT])
    known = {run.tags[CONFIRMED]: run for run in below if CONFIRMED in run.tags}
    for point in found.points:
        own = tags(point, found.spec)
        run = known.get(place(point))
        if run is None:
            run = connection.begin(experiment_id, name=name(point, found.spec), tags={**own, **above})
        measured = values(point, milliseconds=run.milliseconds)
        connection.write(run.id, values=measured, params=params(point), tags=own)
        connection.end(run.id, "FINISHED")


def place(point: ConfirmedPoint) -> str:
    """Return the key by which a confirmed point is found."""
    return f"{point.trial}/{point.point}"


def name(point: ConfirmedPoint, spec: StudySpec) -> str:
    """Return the name of a confirmed point's run: its result."""
    share = getattr(point, spec.share).mean
    result = f"{point.metric:.3f} @ {100 * share:.0f} %" if point.metric.count else "failed"
    return f"confirmed {point.trial:04d}-{point.point:02d} · {result}"


def tags(point: ConfirmedPoint, spec: StudySpec) -> dict[str, str]:
    """Return the tags of a confirmed point's run, with its note."""
    note = f"Point {point.point} of trial {point.trial} ({point.kind}), {_result(point, spec.metric_name)}"
    return {STUDY: spec.name, CONFIRMED: place(point), NAME: name(point, spec), NOTE: note}


def _result(point: ConfirmedPoint, metric: str) -> str:
    """Return what was trained and what came of it, in words."""
    found, promised = point.metric, f"the front had promised {point.selected:.4f} on validation rows."
    if not found.count:
        return f"trained again on {point.failed} fresh seeds, of which none ended well; {promised}"
    if not any(each.epochs for each in point.confirmations):
        how = "measured as it is on test rows"
    else:
        seeds = "one fresh seed" if found.count == 1 else f"{found.count} fresh seeds"
        how = f"trained again on {seeds} and measured on test rows"
    interval = f" (95 % interval {found.low:.4f} to {found.high:.4f})" if found.count > 1 else ""
    return f"{how}. {metric}: **{found.mean:.4f}**{interval}; {promised}"


def params(point: ConfirmedPoint) -> dict[str, str]:
    """Return the parameters of a confirmed point's trainings."""
    return {key: shown(value) for key, value in point.params.items()} | {"kind": point.kind}


def values(point: ConfirmedPoint, *, milliseconds: int) -> list[Value]:
    """Return means and intervals over the seeds, and every seed's metric, whose step is the seed's number."""
    count = point.metric.count
    summary = {
        "test_metric_mean": point.metric.mean,
        "test_metric_low": point.metric.low,
        "test_metric_high": point.metric.high,
        "test_metric_deviation": point.metric.deviation,
        "validation_metric_selected": point.selected,
        "validation_metric_mean": point.validation.mean,
        "optimism": point.optimism.mean,
        "compression": point.compression.mean,
        "seeds": float(count),
        "seeds_failed": float(point.failed),
    }
    if point.sparsity.mean:
        summary["sparsity"] = point.sparsity.mean
    found = [Value(key, value, count, milliseconds) for key, value in summary.items() if math.isfinite(value)]
    for each in point.confirmations:
        if each.measurement is not None:
            found.append(Value("test_metric", each.measurement.metric, each.number, milliseconds))
    return found
