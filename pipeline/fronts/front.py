"""A study's front, read from its store: neither torch nor ray nor a database is needed for it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.study.pareto import front, hypervolume, knee
from pipeline.study.records import FloatArray, Params, PointRef, StudySpec
from pipeline.study.store import (
    DEFAULT_STORE,
    LatencySetup,
    Retrained,
    Store,
    StudyLatency,
    Timed,
    TimedPoint,
)


@dataclass(frozen=True)
class FrontPoint(PointRef):
    """One network on a front: the parameters that make it again, and what it measures.

    Of a curve point, `params` holds the threshold (or target) that cuts there, and no recovery: that is the
    trial that the point is.
    """

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
    bench: LatencySetup | None = None  # what the points' latency_ms holds for
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
    files = Store(Path(store)).study(study)
    found = front_of(files.read_spec(), files.read_table())
    weights = files.weights
    found = with_latency(found, files.latency.read())
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
