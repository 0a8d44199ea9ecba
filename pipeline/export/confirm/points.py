"""Choose the points of a front to confirm, and their seeds."""

from __future__ import annotations

import hashlib

import numpy as np

from pipeline.fronts.front import Front, FrontPoint
from pipeline.study.records import BadInput, StudySpec, TrialRecord


def choose_points(found: Front, points: str) -> tuple[FrontPoint, ...]:
    """Choose all points, the knee, or a number of points spread evenly over the front, its ends among them.

    Raises:
        BadInput: `points` is none of these, or the front is empty.
    """
    if points not in ("all", "knee") and not (points.isdecimal() and int(points) > 0):
        raise BadInput(f"--points is all, knee, or how many; given was {points!r}.")
    if not found.points:
        raise BadInput(
            f"What is confirmed stands on a front; that of {found.spec.name!r} is empty. Search longer."
        )
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
