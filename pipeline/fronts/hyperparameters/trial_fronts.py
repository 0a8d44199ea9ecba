"""A study's complete trials, each with its parameters and the front of its own networks."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.study.pareto import front
from pipeline.study.records import FloatArray, Params
from pipeline.study.store import Points, StudyTable


@dataclass(frozen=True, eq=False)
class TrialFront:
    """One complete trial: its parameters, and the front of its points."""

    number: int
    params: Params
    values: FloatArray  # [F, 2]: metric and gain, of curve and recovered points together
    recovered: tuple[float, float] | None  # metric and gain of the recovered point, as the sampler had them


def trial_fronts(table: StudyTable) -> list[TrialFront]:
    """Return the complete trials of a study's table, by number."""
    points = table.points()
    found = []
    for number, own in points.by_trial():
        values = points.values[own]
        params, recovered = points.trial_params(own.start), _recovered(points, own)
        found.append(TrialFront(number, params, values[front(values)], recovered))
    return found


def _recovered(points: Points, own: slice) -> tuple[float, float] | None:
    """Return metric and gain of the recovered network among a trial's own."""
    for metric, gain in points.values[own][~points.on_curve[own]].tolist():
        return metric, gain
    return None
