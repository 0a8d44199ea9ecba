"""A study's front, read from its store: neither torch nor ray nor a database is needed for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.pareto import front, hypervolume, knee
from pipeline.records import BadInput, FloatArray, Kind, Params, StudySpec
from pipeline.store import Store

DEFAULT_STORE = Path("mlflow_runs")


@dataclass(frozen=True)
class FrontPoint:
    """One network on a front: the parameters that make it again, and what it measures.

    Of a curve point, `params` holds the threshold (or target) that cuts there, and no recovery: that is the
    trial that the point is.
    """

    trial: int
    kind: Kind
    round: int
    metric: float
    compression: float
    compression_total: float
    parameters: int
    encoder_parameters: int
    macs: int
    size_mb: float
    latency_ms: float | None
    params: Params


@dataclass(frozen=True)
class Front:
    """The points of a study that no other point dominates, by compression."""

    spec: StudySpec
    points: tuple[FrontPoint, ...]
    hypervolume: float
    trials: int  # that have ended
    seen: int  # points of complete trials, on the front or not
    left_out: dict[str, int]  # trials that stand on no front, by state
    reasons: dict[str, int]  # why trials failed or were stopped, with how often
    epochs: float  # trained by all trials together
    seconds: float

    @property
    def hypervolume_normalised(self) -> float:
        """Hypervolume / (dense - constant): 1 is the dense metric kept until nothing of the encoder is left."""
        anchors = self.spec.anchors
        span = anchors.dense - anchors.constant
        return self.hypervolume / span if span > 0 else float("nan")

    @property
    def knee(self) -> FrontPoint | None:
        """The point farthest above the line between the front's ends; None for an empty front."""
        if not self.points:
            return None
        return self.points[knee(objectives(self.points))]


def objectives(points: tuple[FrontPoint, ...]) -> FloatArray:
    """[P, 2]: metric and compression."""
    return np.array([(point.metric, point.compression) for point in points], dtype=np.float64).reshape(-1, 2)


def load_front(study: str, *, store: Path | str = DEFAULT_STORE) -> Front:
    """The front of a study, over recovered points and curve points together.

    Raises:
        BadInput: the store holds no such study.
    """
    files = Store(Path(store))
    spec = files.read_spec(study)
    columns = files.read_table(study).to_pydict()
    return front_of(spec, columns)


def front_of(spec: StudySpec, columns: dict[str, list[Any]]) -> Front:
    """The front of a study's table (columns as `store.read_table` gives them)."""
    ended: dict[int, int] = {}  # trial -> one of its rows
    for row, number in enumerate(columns["number"]):
        ended.setdefault(number, row)
    states = [columns["state"][row] for row in ended.values()]
    reasons: dict[str, int] = {}
    for row in ended.values():
        if columns["state"][row] != "complete":
            reasons[columns["reason"][row]] = reasons.get(columns["reason"][row], 0) + 1
    stands = [
        row
        for row, state in enumerate(columns["state"])
        if state == "complete" and columns["metric"][row] is not None
    ]
    values = np.array([(columns["metric"][row], columns["compression"][row]) for row in stands])
    values = values.reshape(-1, 2)
    points = tuple(_point(columns, stands[index]) for index in front(values))
    return Front(
        spec=spec,
        points=points,
        hypervolume=hypervolume(values, spec.reference_point),
        trials=len(ended),
        seen=len(stands),
        left_out={state: states.count(state) for state in ("failed", "stopped")},
        reasons=reasons,
        epochs=float(sum(columns["epochs"][row] or 0.0 for row in ended.values())),
        seconds=float(sum(columns["seconds"][row] or 0.0 for row in ended.values())),
    )


def _point(columns: dict[str, list[Any]], row: int) -> FrontPoint:
    kind = columns["kind"][row]
    params: Params = json.loads(columns["params"][row])
    if kind == "curve":
        params["recover_epochs"] = 0
        if "threshold" in params:
            params["threshold"] = columns["threshold"][row]
        else:
            params["target"] = columns["compression"][row]
    return FrontPoint(
        trial=columns["number"][row],
        kind=kind,
        round=columns["round"][row],
        metric=columns["metric"][row],
        compression=columns["compression"][row],
        compression_total=columns["compression_total"][row],
        parameters=columns["parameters"][row],
        encoder_parameters=columns["encoder_parameters"][row],
        macs=columns["macs"][row],
        size_mb=columns["size_mb"][row],
        latency_ms=columns["latency_ms"][row],
        params=params,
    )


def pick(
    found: Front,
    *,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
) -> FrontPoint:
    """The point of a front that meets what was asked; the knee if nothing was.

    With a bound on the metric (`max_drop` below the dense metric, `min_metric`) the smallest network, with a
    bound on compression alone the best one.

    Raises:
        BadInput: the front is empty, or no point meets it: says what the front offers.
    """
    if not found.points:
        raise BadInput(
            f"A best point stands on a front; study {found.spec.name!r} has no finished trial yet. "
            "Run `prunefront search` with its name again."
        )
    if max_drop is None and min_metric is None and min_compression is None:
        return found.points[knee(objectives(found.points))]
    floor = -np.inf if min_metric is None else min_metric
    if max_drop is not None:
        floor = max(floor, found.spec.anchors.dense - max_drop)
    least = 0.0 if min_compression is None else min_compression
    fit = [p for p in found.points if p.metric >= floor and p.compression >= least]
    if not fit:
        metrics, compressions = zip(*((p.metric, p.compression) for p in found.points), strict=True)
        wanted = [f"metric >= {floor:.4f}"] if floor > -np.inf else []
        wanted += [f"compression >= {least:.3f}"] if min_compression is not None else []
        raise BadInput(
            f"The front of {found.spec.name!r} has no point with {' and '.join(wanted)} (dense: "
            f"{found.spec.anchors.dense:.4f}). It offers metrics of {min(metrics):.4f} to {max(metrics):.4f} at "
            f"compressions of {max(compressions):.3f} to {min(compressions):.3f}. Ask for less, or search longer."
        )
    if floor > -np.inf:
        return max(fit, key=lambda p: (p.compression, p.metric))
    return max(fit, key=lambda p: (p.metric, p.compression))


def best_of_task(
    task: str,
    *,
    store: Path | str = DEFAULT_STORE,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
) -> tuple[Front, FrontPoint]:
    """The best point over all studies of a task, and the study's front that it stands on.

    Without a bound: the knee of the front of all their points together.

    Raises:
        BadInput: no study of the task has a point that meets the bounds.
    """
    files = Store(Path(store))
    names = files.list_studies()
    of_task = [front for name in names if (front := load_front(name, store=store)).spec.task == task]
    points = [(front, point) for front in of_task for point in front.points]
    if not points:
        tasks = sorted({files.read_spec(name).task for name in names})
        known = f"It has studies of {', '.join(tasks)}." if tasks else "It has no study yet."
        raise BadInput(f"--task names a task with a finished trial in {store}; {task!r} has none. {known}")
    values = objectives(tuple(point for _, point in points))
    together = front(values)
    merged = replace(of_task[0], points=tuple(points[index][1] for index in together))
    point = pick(merged, max_drop=max_drop, min_metric=min_metric, min_compression=min_compression)
    return next((owner, found) for owner, found in points if found is point)
