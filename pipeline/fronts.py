"""A study's front, read from its store: neither torch nor ray nor a database is needed for it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.pareto import front, hypervolume, knee
from pipeline.records import BadInput, FloatArray, Kind, Params, StudySpec
from pipeline.store import Bench, Retrained, Store, StudyLatency, Timed, TimedPoint

DEFAULT_STORE = Path("mlflow_runs")


@dataclass(frozen=True)
class FrontPoint:
    """One network on a front: the parameters that make it again, and what it measures.

    Of a curve point, `params` holds the threshold (or target) that cuts there, and no recovery: that is the
    trial that the point is.
    """

    trial: int
    point: int  # its place among the trial's points
    kind: Kind
    round: int
    metric: float
    compression: float
    compression_total: float
    parameters: int
    encoder_parameters: int
    macs: int
    size_mb: float
    sparsity: float
    nonzero_parameters: int | None
    gain: float  # of the study's second objective: records.Objective.gain
    latency_ms: float | None  # at the study's own shape: measured whole, or else read from the table
    dense_latency_ms: float | None
    params: Params
    latency_source: Literal["measured", "table"] | None = None
    latencies: tuple[Timed, ...] = ()  # of the whole network, at every shape that was asked for
    retrained: Retrained | None = (
        None  # what it measured when it was trained again, since its weights were gone
    )

    @property
    def speedup(self) -> float | None:
        """Time of the dense network / of this one."""
        if self.latency_ms is None or self.dense_latency_ms is None:
            return None
        return self.dense_latency_ms / self.latency_ms


@dataclass(frozen=True)
class Front:
    """The points of a study that no other point dominates, by rising gain (in a study of compression: that)."""

    spec: StudySpec
    points: tuple[FrontPoint, ...]
    hypervolume: float
    trials: int  # that have ended
    seen: int  # points of complete trials, on the front or not
    useless: int  # of them no better than the constant prediction: they stand on no front
    left_out: dict[str, int]  # trials that stand on no front, by state
    reasons: dict[str, int]  # why trials failed or were stopped, with how often
    epochs: float  # trained by all trials together
    seconds: float
    bench: Bench | None = None  # what the points' latency_ms holds for
    latency_disturbed: bool = False  # the machine did other work while a latency_ms of a point was measured

    @property
    def hypervolume_normalised(self) -> float:
        """Hypervolume / (dense - constant): 1 is the dense metric kept until nothing of the encoder is left."""
        anchors = self.spec.anchors
        span = anchors.dense - anchors.constant
        return self.hypervolume / span if span > 0 else float("nan")

    @property
    def why_empty(self) -> str:
        """What a front without points lacks."""
        finished = self.trials - sum(self.left_out.values())
        return "no network predicts better than a constant" if finished else "it has no finished trial"

    @property
    def knee(self) -> FrontPoint | None:
        """The point farthest above the line between the front's ends; None for an empty front."""
        if not self.points:
            return None
        return self.points[knee(objectives(self.points))]


def objectives(points: tuple[FrontPoint, ...]) -> FloatArray:
    """[P, 2]: metric and gain."""
    return np.array([(point.metric, point.gain) for point in points], dtype=np.float64).reshape(-1, 2)


def load_front(study: str, *, store: Path | str = DEFAULT_STORE) -> Front:
    """The front of a study, over recovered points and curve points together.

    Raises:
        BadInput: the store holds no such study.
    """
    files = Store(Path(store))
    found = front_of(files.read_spec(study), files.read_table(study))
    weights = files.weights(study)
    found = with_latency(found, files.latency(study).read())
    return replace(found, points=tuple(replace(p, retrained=weights.retrained(p)) for p in found.points))


def with_latency(found: Front, latency: StudyLatency) -> Front:
    """A front with the times of those networks that were timed whole."""
    points = tuple(_timed(p, latency) for p in found.points)
    read = latency.table if any(p.latency_source == "table" for p in points) else None
    shown = StudyLatency(read, tuple(TimedPoint(p.trial, p.point, p.latencies) for p in points))
    return replace(found, points=points, bench=latency.bench, latency_disturbed=shown.disturbed)


def _timed(point: FrontPoint, latency: StudyLatency) -> FrontPoint:
    """A point with the times of its whole network, if that was timed; its gain stays that of the table."""
    times = latency.of(point.trial, point.point)
    for each in times:
        if each.bench == latency.bench:
            return replace(
                point,
                latency_ms=each.ms,
                dense_latency_ms=each.dense_ms,
                latency_source="measured",
                latencies=times,
            )
    source: Literal["table"] | None = None if point.latency_ms is None else "table"
    return replace(point, latency_source=source, latencies=times)


def front_of(spec: StudySpec, table: pa.Table) -> Front:
    """The front of a study's table, as `store.read_table` gives it. Only complete trials stand on it."""
    numbers = table["number"].to_numpy()
    trials = table.take(np.unique(numbers, return_index=True)[1])  # a row of each
    states = trials["state"].to_pylist()
    reasons = Counter(
        reason
        for reason, state in zip(trials["reason"].to_pylist(), states, strict=True)
        if state != "complete"
    )
    complete = np.asarray(table["state"].to_numpy(zero_copy_only=False) == "complete")
    measured = np.flatnonzero(complete & table["metric"].is_valid().to_numpy())
    read = {"metric", spec.second.column, spec.second.dense} & set(table.column_names)
    values = spec.values({name: table[name].to_numpy()[measured] for name in read})
    useful = values[:, 0] > spec.anchors.constant  # what no better than a constant prediction is no trade-off
    rows = table.take(measured[useful][front(values[useful])]).to_pylist()
    return Front(
        spec=spec,
        points=tuple(_point(row, spec) for row in rows),
        hypervolume=hypervolume(values, spec.reference_point),
        trials=len(states),
        seen=len(measured),
        useless=int(len(measured) - useful.sum()),
        left_out={state: states.count(state) for state in ("failed", "stopped")},
        reasons=dict(reasons),
        epochs=float(np.nansum(trials["epochs"].to_numpy())),
        seconds=float(np.nansum(trials["seconds"].to_numpy())),
    )


def _point(row: dict[str, Any], spec: StudySpec) -> FrontPoint:
    params: Params = json.loads(row["params"])
    if row["kind"] == "curve":
        params["recover_epochs"] = 0
        if "threshold" in params:
            params["threshold"] = row["threshold"]
        else:
            params["target"] = row[spec.share]
    taken = {field.name: row[field.name] for field in fields(FrontPoint) if field.name in row}
    gain = float(spec.values(row)[1])
    return FrontPoint(**taken | {"trial": row["number"], "params": params, "gain": gain})


def pick(
    found: Front,
    *,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
    min_sparsity: float | None = None,
    max_latency_ms: float | None = None,
) -> FrontPoint:
    """The point of a front that meets what was asked; the knee if nothing was.

    With a bound on the metric (`max_drop` below the dense metric, `min_metric`) the smallest network (the one of
    the greatest gain), with a bound on compression, sparsity or latency alone the best one.

    Raises:
        BadInput: the front is empty, no point meets it (says what the front offers), or the study has no networks of
            the kind that was asked for.
    """
    _check_kind(found.spec, min_compression=min_compression, min_sparsity=min_sparsity)
    least = min_sparsity if found.spec.zeroes else min_compression
    if not found.points:
        raise BadInput(
            f"A best point stands on a front; that of study {found.spec.name!r} is empty: {found.why_empty}. Run "
            "`prunefront search` with its name again, for more trials."
        )
    if max_drop is None and min_metric is None and least is None and max_latency_ms is None:
        return found.points[knee(objectives(found.points))]
    floor = -np.inf if min_metric is None else min_metric
    if max_drop is not None:
        floor = max(floor, found.spec.anchors.dense - max_drop)
    share = found.spec.share
    fit = [p for p in found.points if p.metric >= floor and getattr(p, share) >= (least or 0.0)]
    if max_latency_ms is not None:
        fit = [p for p in fit if p.latency_ms is not None and p.latency_ms <= max_latency_ms]
    if not fit:
        wanted = [f"metric >= {floor:.4f}"] if floor > -np.inf else []
        wanted += [f"{share} >= {least:.3f}"] if least is not None else []
        wanted += [f"latency <= {max_latency_ms:g} ms"] if max_latency_ms is not None else []
        raise _none_fits(found, wanted)
    if floor > -np.inf:
        return max(fit, key=lambda p: (p.gain, p.metric))
    return max(fit, key=lambda p: (p.metric, p.gain))


def _none_fits(found: Front, wanted: list[str]) -> BadInput:
    """What to say if no point is as wanted: what the front offers."""
    metrics, shares = zip(*((p.metric, getattr(p, found.spec.share)) for p in found.points), strict=True)
    return BadInput(
        f"The front of {found.spec.name!r} has no point with {' and '.join(wanted)} (dense: "
        f"{found.spec.anchors.dense:.4f}). It offers metrics of {min(metrics):.4f} to {max(metrics):.4f} at "
        f"{'sparsities' if found.spec.zeroes else 'compressions'} of {max(shares):.3f} to {min(shares):.3f}"
        f"{_latencies(found)}. Ask for less, or search longer."
    )


def _check_kind(spec: StudySpec, *, min_compression: float | None, min_sparsity: float | None) -> None:
    if spec.zeroes and min_compression is not None:
        raise BadInput(
            f"A compressed network is smaller; those of {spec.name!r} have zeros in place of weights ({spec.method}), "
            "and none is smaller than another. Ask for a sparsity, or for a study that cuts."
        )
    if not spec.zeroes and min_sparsity is not None:
        raise BadInput(
            f"A sparse network has zeros in place of weights; those of {spec.name!r} are cut ({spec.method}). Ask "
            "for a compression, or for a study of single weights."
        )


def _latencies(found: Front) -> str:
    """What a front offers in latency, for a message; nothing if it was not measured."""
    known = [point.latency_ms for point in found.points if point.latency_ms is not None]
    return (
        f" and latencies of {min(known):.2f} to {max(known):.2f} ms" if known else ", latencies not measured"
    )


def _comparable(points: list[tuple[Front, FrontPoint]]) -> FloatArray:
    """[P, 2]: metric and gain; if the studies searched on different objectives, compression, which all have."""
    if len({found.spec.objective for found, _ in points}) == 1:
        return objectives(tuple(point for _, point in points))
    return np.array([(point.metric, point.compression) for _, point in points], dtype=np.float64)


def best_of_task(
    task: str,
    *,
    store: Path | str = DEFAULT_STORE,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
    min_sparsity: float | None = None,
    max_latency_ms: float | None = None,
) -> tuple[Front, FrontPoint]:
    """The best point over all studies of a task, and the study's front that it stands on.

    Without a bound: the knee of the front of all their points together. Studies whose networks have zeros share no
    front with those that cut: they count if a sparsity is asked for, or if there are no others.

    Raises:
        BadInput: no study of the task has a point that meets the bounds.
    """
    files = Store(Path(store))
    names = files.list_studies()
    of_task = [found for name in names if (found := load_front(name, store=store)).spec.task == task]
    zeroes = min_sparsity is not None or all(found.spec.zeroes or not found.points for found in of_task)
    of_task = [found for found in of_task if found.spec.zeroes == zeroes]
    points = [(found, point) for found in of_task for point in found.points]
    if not points:
        tasks = sorted({files.read_spec(name).task for name in names})
        known = f"It has studies of {', '.join(tasks)}." if tasks else "It has no study yet."
        raise BadInput(f"--task names a task with a finished trial in {store}; {task!r} has none. {known}")
    together = front(_comparable(points))
    merged = replace(of_task[0], points=tuple(points[index][1] for index in together))
    point = pick(
        merged,
        max_drop=max_drop,
        min_metric=min_metric,
        min_compression=min_compression,
        min_sparsity=min_sparsity,
        max_latency_ms=max_latency_ms,
    )
    return next((owner, found) for owner, found in points if found is point)
