"""Whether a pruned network is better than a smaller model off the shelf: at that model's size, and at its latency.

Fronts of different base models share no compression: a share of one encoder is no size. What they share are megabytes
of the whole network and milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fronts.front import Front
from pipeline.fronts.front_point import FrontPoint
from pipeline.fronts.numbers import mb


@dataclass(frozen=True)
class Rival:
    """The best network of another base model that costs no more."""

    study: str
    model: str
    point: FrontPoint


@dataclass(frozen=True)
class AtSize:
    """A model as it came, fine-tuned, and the best networks cut from other models at its size and its latency."""

    task: str
    model: str
    metric_name: str
    metric: float
    size_mb: float
    latency_ms: float | None
    by_mb: Rival | None  # None: no network of another model is so small
    by_ms: (
        Rival | None
    )  # None: nor so fast, or nothing was timed under its conditions: machine, threads, shape

    @property
    def sentence(self) -> str:
        """Say which is better at this size."""
        mine = f"{self.model} as it came ({mb(self.size_mb)} MB) has {self.metric_name} {self.metric:.4f}"
        if self.by_mb is None:
            return f"{mine}; no network cut from another model is so small."
        rival, point = self.by_mb, self.by_mb.point
        return (
            f"{mine}; of at most its size the best cut from another model is trial {point.trial} of {rival.study} "
            f"with {point.metric:.4f} ({point.metric - self.metric:+.4f}, {mb(point.size_mb)} MB)."
        )


def at_size(fronts: Sequence[Front]) -> tuple[AtSize, ...]:
    """Return a row for each base model of a task, from the largest to the smallest; none if there is one model.

    Seeds of one model are taken together: its dense network is that of the first, and rivals come from all.
    """
    first: dict[tuple[str, str], Front] = {}
    for found in fronts:
        first.setdefault((found.spec.task, found.spec.model_fingerprint), found)
    rows = [_row(one, fronts) for one in first.values()]
    several = {task for task, _ in first if sum(each == task for each, _ in first) > 1}
    return tuple(
        sorted((row for row in rows if row.task in several), key=lambda row: (row.task, -row.size_mb))
    )


def _row(one: Front, fronts: Sequence[Front]) -> AtSize:
    spec = one.spec
    others = [
        each
        for each in fronts
        if (each.spec.task, each.spec.metric_name) == (spec.task, spec.metric_name)
        and each.spec.model_fingerprint != spec.model_fingerprint
    ]
    return AtSize(
        spec.task,
        spec.model,
        spec.metric_name,
        spec.anchors.dense,
        spec.anchors.dense_size_mb,
        one.dense_latency_ms,
        by_mb=_best(others, "size_mb", spec.anchors.dense_size_mb),
        by_ms=_best([each for each in others if each.bench == one.bench], "latency_ms", one.dense_latency_ms),
    )


def _best(fronts: Sequence[Front], cost: str, most: float | None) -> Rival | None:
    within = [
        Rival(found.spec.name, found.spec.model, point)
        for found in fronts
        for point in found.points
        if most is not None and (paid := getattr(point, cost)) is not None and paid <= most
    ]
    return max(within, key=lambda rival: rival.point.metric, default=None)
