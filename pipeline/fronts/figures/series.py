"""The contents of a figure of fronts: a study's networks, its front, its anchors.

The gain (compression, if the study did not search on another objective) runs to the right, the metric upwards:
better is up and right. A figure shows all measured networks (filled marks: recovered; hollow: cut from a curve, not
recovered; faint: not on the front) and the two anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import OBJECTIVES, FloatArray, Kind, Params, StudySpec
from pipeline.study.store import Int8Scores, Points

# Okabe & Ito, "Color Universal Design" (2008), without yellow and black: distinguishable with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Colour is never the only difference between two studies.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
FAINT = 0.28  # opacity of what is not on the front
CURVE_DOTS = 4000  # of a study, at most: more are one grey cloud, and megabytes of hover texts
PERCENT = 100.0
CUT, TRAINED = "cut only", "cut, then trained on"  # what a network is, in a legend


@dataclass(frozen=True)
class Dot:
    """One network on a figure. `params` are those that make it again: a curve point has its own threshold."""

    trial: int
    kind: Kind
    metric: float
    compression: float
    parameters: int
    size_mb: float
    params: Params
    gain: float  # of the study's second objective
    round: int = 0
    point: int = 0  # its place among the trial's points
    latency_ms: float | None = None
    macs: int = 0


@dataclass(frozen=True)
class Layer:
    """Networks of a study that are drawn in one style: faint behind the front, ringed on it."""

    name: str
    dots: tuple[Dot, ...]
    on_front: bool
    hollow: bool
    size: float  # across, in pixels (of 1/100 inch)
    opacity: float


@dataclass(frozen=True)
class Series:
    """One study on a figure: its spec and its networks, and those of them that were measured in 8 bits."""

    spec: StudySpec
    dots: tuple[Dot, ...]
    int8: tuple[Int8Scores, ...] = ()

    @property
    def values(self) -> FloatArray:
        """[P, 2]: metric and gain."""
        return np.array([(dot.metric, dot.gain) for dot in self.dots], dtype=np.float64).reshape(-1, 2)

    @cached_property
    def front(self) -> tuple[Dot, ...]:
        """The networks above the constant prediction that no other dominates, by rising gain."""
        above = np.flatnonzero(self.values[:, 0] > self.spec.anchors.constant)
        return tuple(self.dots[row] for row in above[front(self.values[above])])

    def layers(self) -> tuple[Layer, ...]:
        """Return all networks in the order of drawing; behind the front at most CURVE_DOTS curve points."""
        ahead = {id(dot) for dot in self.front}
        behind = [dot for dot in self.dots if id(dot) not in ahead]
        curve = [dot for dot in behind if dot.kind == "curve"]
        if len(curve) > CURVE_DOTS:
            curve = [curve[row] for row in np.linspace(0, len(curve) - 1, CURVE_DOTS).astype(int)]
        return (
            Layer(CUT, tuple(curve), False, False, 5, FAINT),
            Layer(TRAINED, tuple(d for d in behind if d.kind == "recovered"), False, False, 8, 2 * FAINT),
            Layer(f"front: {CUT}", tuple(d for d in self.front if d.kind == "curve"), True, True, 10, 1),
            Layer(
                f"front: {TRAINED}", tuple(d for d in self.front if d.kind == "recovered"), True, False, 10, 1
            ),
        )


def dots(points: Points) -> tuple[Dot, ...]:
    """Return networks of a study's table as figures draw them."""
    names = [field.name for field in fields(Dot) if field.name not in ("trial", "params", "gain")]
    columns = {name: points.column(name) for name in names}
    columns |= {
        "trial": points.column("number"),
        "params": points.params(),
        "gain": points.values[:, 1].tolist(),
    }
    rows = zip(*columns.values(), strict=True)
    return tuple(Dot(**dict(zip(columns, row, strict=True))) for row in rows)


def hypervolumes(series: Series) -> tuple[list[int], list[float]]:
    """Return the numbers of complete trials, and hypervolume / (dense - constant) of all trials up to each."""
    anchors = series.spec.anchors
    span = anchors.dense - anchors.constant
    by_trial: dict[int, list[tuple[float, float]]] = {}
    for dot in series.dots:
        by_trial.setdefault(dot.trial, []).append((dot.metric, dot.gain))
    best = np.empty((0, 2))
    found = []
    for number in sorted(by_trial):
        seen = np.concatenate((best, by_trial[number]))
        best = seen[front(seen)]  # what is dominated now stays dominated
        found.append(hypervolume(best, series.spec.reference_point) / span if span > 0 else float("nan"))
    return sorted(by_trial), found


def look(index: int) -> tuple[str, str]:
    """Return colour and symbol of the study at a place of the list."""
    return COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]


def titles(what: str, series: Sequence[Series]) -> tuple[str, str]:
    """Return headline and subtitle of a figure: its subject, and what the studies have in common.

    Raises:
        ValueError: there is no study.
    """
    if not series:
        raise ValueError("A figure shows at least one study; none was given.")
    specs = [one.spec for one in series]
    shared = [
        f"{word} {values.pop()}"
        for word in ("task", "model", "method")
        if len(values := {str(getattr(spec, word)) for spec in specs}) == 1
    ]
    return f"{what}: {specs[0].name if len(specs) == 1 else f'{len(specs)} studies'}", " · ".join(shared)


def axis_labels(series: Sequence[Series]) -> tuple[str, str]:
    """Return the labels of the axes for gain and metric, with units."""
    metrics = ", ".join(sorted({one.spec.metric_name for one in series}))
    gains = " or ".join(dict.fromkeys(one.spec.second.label for one in series))
    return f"{gains}, %", f"{OBJECTIVES['metric'].label}: {metrics}"


def xy(shown: Sequence[Dot]) -> tuple[list[float], list[float]]:
    """Return the gains in % and the metrics."""
    return [PERCENT * dot.gain for dot in shown], [dot.metric for dot in shown]
