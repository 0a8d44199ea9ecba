"""Several fronts of one kind, one a seed: what a share of them attains, and a front read at a gain.

`values` are [P, 2], (metric, gain), both maximised; S fronts, G gains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.study.pareto import front

Values = npt.NDArray[np.float64]


def metric_at(values: npt.ArrayLike, gains: npt.ArrayLike, *, beyond: float) -> Values:
    """Return the metric of a front at gains [G], by linear interpolation between its neighbouring points.

    Left of the front's first point that point holds: it dominates all that lies there. Right of the last one no
    network is so small, and what is left is `beyond`: the constant prediction, which is free.
    """
    points = np.asarray(values, dtype=np.float64)
    places = np.asarray(gains, dtype=np.float64)
    rows = front(points)
    if not len(rows):
        return np.full(len(places), beyond)
    metric, gain = points[rows].T
    # of equally small points the front holds equal metrics only: interpolation needs each place once
    gain, first = np.unique(gain, return_index=True)
    found: Values = np.interp(places, gain, metric[first], right=beyond)
    return found


def attained(fronts: Sequence[npt.ArrayLike], gains: npt.ArrayLike, *, beyond: float) -> Values:
    """Return [S, G]: the best metric of each front at a gain or a greater one; `beyond` where there is none."""
    places = np.asarray(gains, dtype=np.float64)
    heights = np.full((len(fronts), len(places)), beyond, dtype=np.float64)
    for seed, values in enumerate(fronts):
        points = np.asarray(values, dtype=np.float64)
        points = points[front(points)]
        if len(points):
            at = np.searchsorted(points[:, 1], places)  # the first point that is small enough is the best one
            inside = at < len(points)
            heights[seed, inside] = points[at[inside], 0]
    return heights


def attainment_curve(heights: Values, share: float) -> Values:
    """Return [G]: the metric that at least this share of the fronts reaches at each gain, from `attained`'s [S, G].

    The summary of the empirical attainment function at `share` (Grunert da Fonseca, Fonseca and Hall, EMO 2001,
    section 3): share 0.5 is the median front.
    """
    count = len(heights)
    if not count:
        raise ValueError("An attainment curve is of one front or more; none was given.")
    reached = max(1, math.ceil(share * count - 1e-9))
    best_first: Values = -np.sort(-heights, axis=0)
    curve: Values = best_first[reached - 1]
    return curve
