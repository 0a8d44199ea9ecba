"""A study's front, read from its store without torch, ray or a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.fronts.front_point import FrontPoint as FrontPoint
from pipeline.fronts.notebook import as_html
from pipeline.fronts.numbers import mb, percent
from pipeline.study.pareto import front, hypervolume, knee
from pipeline.study.records import FloatArray, OriginalSize, StudySpec
from pipeline.study.store import (
    DEFAULT_STORE,
    LatencySetup,
    Store,
    StudyLatency,
    StudyStore,
    StudyTable,
)

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure


@dataclass(frozen=True, repr=False)
class Front:
    """The points of a study that no other point dominates, by rising gain (in a study of compression: that).

    `len(front)`, `front[0]` and `for point in front` are over its points; a notebook shows a figure and a table.
    """

    spec: StudySpec
    points: tuple[FrontPoint, ...]
    hypervolume: float
    trials: int  # that have ended
    seen: int  # measured points of complete trials, on the front or not
    below_constant: int  # points at or below the constant baseline; excluded from the front
    left_out: dict[str, int]  # trials that are excluded from the front, by state
    reasons: dict[str, int]  # why trials failed or were stopped, with their number
    epochs: float  # trained by all trials together
    seconds: float
    bench: LatencySetup | None = None  # what the points' latency_ms holds for
    latency_disturbed: bool = False  # the machine did other work while a latency_ms of a point was measured
    remarks: tuple[str, ...] = ()  # what a user should know of the study's rows and model
    original: OriginalSize | None = None  # of a model that was cut before, or whose vocabulary is trimmed

    @property
    def first_encoder(self) -> int | None:
        """Parameters of the encoder before its first cut, if the study's model had been cut before."""
        whole = None if self.original is None else self.original.encoder_parameters
        return None if whole == self.spec.anchors.dense_encoder_parameters else whole

    @property
    def hypervolume_normalised(self) -> float:
        """Hypervolume / (dense - constant): 1 is the dense metric kept until nothing of the encoder is left."""
        anchors = self.spec.anchors
        span = anchors.dense - anchors.constant
        return self.hypervolume / span if span > 0 else float("nan")

    @property
    def dense_latency_ms(self) -> float | None:
        """The dense network's time: the median of what was measured beside the points, quiet ones where there are."""
        known = [p for p in self.points if p.dense_latency_ms is not None]
        quiet = [p for p in known if not p.latency_disturbed] or known
        return median(p.dense_latency_ms or 0.0 for p in quiet) if quiet else None

    @property
    def latency_conditions(self) -> str:
        """Under which conditions the points' latencies hold, and what their marks mean; empty without latencies."""
        if self.bench is None:
            return ""
        bench = self.bench
        said = (
            f"ms: a batch of {bench.batch} × {bench.length} tokens, {bench.precision}, {bench.threads} "
            f"thread{'s' * (bench.threads > 1)}, {bench.device}"
        )
        if any(point.latency_source == "table" for point in self.points):
            said += ". ~: from the table of blocks; the others are measured"
        if self.latency_disturbed:
            said += ". ?: the machine did other work meanwhile; the true time is shorter"
        return said

    @property
    def why_empty(self) -> str:
        """Why the front has no points."""
        finished = self.trials - sum(self.left_out.values())
        return "no network predicts better than a constant" if finished else "it has no finished trial"

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.points)

    def __iter__(self) -> Iterator[FrontPoint]:
        """Iterate over the points."""
        return iter(self.points)

    def __getitem__(self, place: int) -> FrontPoint:
        """Return a point; 0 is row 1 of `show`."""
        return self.points[place]

    def __bool__(self) -> bool:
        """Return True: an empty front is a front."""
        return True

    def __repr__(self) -> str:
        """Return the study, and what its front spans."""
        ends = [self.points[0], self.points[-1]] if self.points else []
        spans = (
            f"{len(self)} points, {self.spec.metric_name} {ends[0].metric:.4f} to {ends[1].metric:.4f} at "
            f"{100 * ends[0].gain:.0f} to {100 * ends[1].gain:.0f} %"
            if ends
            else self.why_empty
        )
        return f"<Front {self.spec.name}: {self.spec.approach} on {self.spec.task} with {self.spec.model}, {spans}>"

    def to_pandas(self) -> DataFrame:
        """Return a row per point; settings are columns `params.…`."""
        from pandas import DataFrame

        plain = [name for name in FrontPoint.__dataclass_fields__ if name not in ("params", "latencies")]
        return DataFrame(
            [
                {name: getattr(point, name) for name in plain}
                | {"speedup": point.speedup}
                | {f"params.{key}": value for key, value in point.params.items()}
                for point in self.points
            ]
        )

    def plot(self) -> Figure:
        """Return the front as an interactive figure (plotly): hovering shows a network's settings and measurements."""
        from pipeline.fronts.figures import Dot, Series, front_figure

        names = [field.name for field in fields(Dot)]
        dots = (Dot(**{name: getattr(point, name) for name in names}) for point in self.points)
        return front_figure([Series(self.spec, tuple(dots))])

    def _repr_html_(self) -> str:
        heads = (
            "#",
            self.spec.second.short,
            self.spec.metric_name,
            "vs dense",
            "MB",
            "MACs",
            "ms",
            "trial",
            "kind",
        )
        dense = self.spec.anchors
        rows = [
            (
                str(number),
                percent(point.gain),
                f"{point.metric:.4f}",
                f"{point.metric - dense.dense:+.4f}",
                mb(point.size_mb),
                percent(point.macs / dense.dense_macs),
                point.latency,
                str(point.trial),
                point.kind,
            )
            for number, point in enumerate(self.points, 1)
        ]
        dots = [(point.gain, point.metric, point.kind == "recovered") for point in self.points]
        return as_html(repr(self)[1:-1], heads, rows, dots, dense=dense.dense)

    @property
    def knee(self) -> FrontPoint | None:
        """The point farthest above the line between the front's ends; None for an empty front."""
        if not self.points:
            return None
        return self.points[knee(objectives(self.points))]


def objectives(points: tuple[FrontPoint, ...]) -> FloatArray:
    """Return [P, 2]: metric and gain."""
    return np.array([(point.metric, point.gain) for point in points], dtype=np.float64).reshape(-1, 2)


def load_front(study: str, *, store: Path | str = DEFAULT_STORE) -> Front:
    """Return the front of a study, over recovered points and curve points together.

    Raises:
        BadInput: the store holds no such study.
    """
    return read_front(Store(Path(store)).study(study))


def read_front(files: StudyStore, *, trial: int | None = None) -> Front:
    """Return the front of a study whose files are open; with `trial`, the front of that trial's points alone.

    Raises:
        BadInput: there is no such study.
    """
    table = files.read_points()
    found = front_of(table if trial is None else table.of_trials([trial]))
    found = with_latency(found, files.latency.read())
    data = files.data.read()
    return replace(
        found,
        points=tuple(replace(p, retrained=files.weights.retrained(p)) for p in found.points),
        remarks=data.remarks,
        original=data.original,
    )


def with_latency(found: Front, latency: StudyLatency) -> Front:
    """Return a front with the measured latency of those networks that were timed whole."""
    points = tuple(_timed(p, latency) for p in found.points)
    marked = any(point.latency_disturbed for point in points)
    return replace(found, points=points, bench=latency.bench, latency_disturbed=marked)


def _timed(point: FrontPoint, latency: StudyLatency) -> FrontPoint:
    """Return a point with the measured latency of its network, if there is one; its gain stays that of the table.

    What was measured on a busy machine gives way to the table's estimate, if that was measured on a quiet one.
    """
    times = latency.of(point.trial, point.point)
    noisy_table = latency.table is not None and latency.table.disturbed
    quiet_table = point.latency_ms is not None and not noisy_table
    for each in times:
        if each.bench == latency.bench and not (each.disturbed and quiet_table):
            return replace(
                point,
                latency_ms=each.ms,
                dense_latency_ms=each.dense_ms,
                latency_source="measured",
                latency_disturbed=each.disturbed,
                latencies=times,
            )
    source: Literal["table"] | None = None if point.latency_ms is None else "table"
    unsure = source is not None and not quiet_table
    return replace(point, latency_source=source, latency_disturbed=unsure, latencies=times)


def front_of(table: StudyTable) -> Front:
    """Return the front of a study's table, without measured latencies. Only complete trials stand on it."""
    spec, points, trials = table.spec, table.points(), table.trials()
    useful = points.values[:, 0] > spec.anchors.constant  # a constant prediction is no trade-off
    chosen = np.flatnonzero(useful)[front(points.values[useful])]
    return Front(
        spec=spec,
        points=tuple(_point(row) for row in points.at(chosen).rows()),
        hypervolume=hypervolume(points.values, spec.reference_point),
        trials=len(trials),
        seen=len(points),
        below_constant=int(len(points) - useful.sum()),
        left_out={state: sum(trial.state == state for trial in trials) for state in ("failed", "stopped")},
        reasons=dict(Counter(trial.reason for trial in trials if trial.state != "complete")),
        epochs=float(np.nansum([trial.epochs for trial in trials])),
        seconds=float(np.nansum([trial.seconds for trial in trials])),
    )


def _point(row: dict[str, Any]) -> FrontPoint:
    taken = {field.name: row[field.name] for field in fields(FrontPoint) if field.name in row}
    return FrontPoint(**taken | {"trial": row["number"]})
