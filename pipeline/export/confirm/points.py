"""Choose the points of a front to confirm, and their seeds."""

from __future__ import annotations

import hashlib

import numpy as np

from pipeline.fronts.bounds import Bounds, flag
from pipeline.fronts.front import Front, FrontPoint
from pipeline.fronts.pick import pick_within
from pipeline.study.records import BadInput, StudySpec, TrialRecord


def choose_points(found: Front, points: str, bounds: Bounds | None = None) -> tuple[FrontPoint, ...]:
    """Choose the best point, all points, the knee, or points spread evenly over the front, its ends among them.

    Args:
        found: the front.
        points: "best" (the one within the bounds, as `pick` chooses it), "all", "knee", or how many.
        bounds: of the best point.

    Raises:
        BadInput: `points` is none of these, the front is empty, no point is within the bounds, or bounds are given for
            other points than the best one.
    """
    bounds = bounds or Bounds()
    if points not in ("best", "all", "knee") and not (points.isdecimal() and int(points) > 0):
        raise BadInput(f"--points is {points!r}. It is best, all, knee, or how many.")
    if points != "best" and bounds.given:
        raise BadInput(f"--points {points} and {flag(bounds.given[0])} name different points. Leave one out.")
    if not found.points:
        raise BadInput(
            f"The front of {found.spec.name!r} is empty: there is nothing to confirm. Search longer."
        )
    if points == "best":
        return (pick_within(found, bounds),)
    if points == "all":
        return found.points
    if points == "knee" or int(points) == 1:
        knee = found.knee
        return (knee,) if knee is not None else ()
    many = min(int(points), len(found.points))
    gains = np.array([point.gain for point in found.points])
    places: list[int] = []
    for gain in np.linspace(gains[0], gains[-1], many):
        free = [place for place in range(len(gains)) if place not in places]
        places.append(min(free, key=lambda place: abs(gains[place] - gain)))
    return tuple(found.points[place] for place in sorted(places))


def trains_nothing(spec: StudySpec, record: TrialRecord) -> bool:
    """Return whether a trial cut the user's own network and trained it no further: there is nothing to repeat."""
    return spec.own and not (float(record.params["tune_epochs"]) or float(record.params["recover_epochs"]))


def fresh_seed(study_seed: int, number: int) -> int:
    """Return the seed (32 bits) of the `number`-th confirmation of a study's points; no trial of it has this seed."""
    digest = hashlib.sha256(f"confirm/{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
