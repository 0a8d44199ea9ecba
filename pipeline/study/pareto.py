"""Pareto fronts of two objectives, their hypervolume and knee.

Every `values` is [P, 2]: one row per network, (metric, gain). **Both columns are maximised.** A gain is the
study's second objective as a share of the dense network: compression, or the saved part of its MACs or latency
(`records.Objective.gain`).

A row dominates another if it is at least as good in both columns and better in one.

* *NaN and infinity.* A row that holds one is ignored: it is on no front, dominates no row, adds no volume.
* *Duplicates.* Equal rows do not dominate each other: all of them are on the front. Volume counts them once.
* *No rows.* `front` is empty and `hypervolume` 0; `knee` raises.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

KNEE_DECIMALS = 12  # of heights above the chord, so that rounding errors do not choose the knee


def front(values: npt.ArrayLike) -> Rows:
    """Return the rows that no other row dominates, by rising gain; equal points by row. O(P log P).

    Args:
        values: [P, 2].

    Returns:
        Row numbers into `values`, [F].

    Raises:
        ValueError: `values` is not [P, 2].
    """
    points = _points(values)
    rows = np.flatnonzero(np.isfinite(points).all(axis=1))
    metric, gain = points[rows, 0], points[rows, 1]
    order = np.lexsort((-metric, -gain))  # from the greatest gain down, the best metric first
    metric, gain = metric[order], gain[order]
    starts = np.ones(len(order), dtype=bool)  # of the groups of equal gain
    starts[1:] = gain[1:] != gain[:-1]
    group = np.cumsum(starts) - 1
    best = metric[starts]  # of each group
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(best)[:-1]))[: len(best)]
    stays = (metric == best[group]) & (best > best_before)[group]
    found: Rows = rows[order[stays]].astype(np.int64)
    return found[np.lexsort((found, gain[stays]))]


def hypervolume(values: npt.ArrayLike, reference: tuple[float, float]) -> float:
    """Return the area that the rows dominate above `reference`. Exact, O(P log P).

    A row that is not better than the reference in both columns adds nothing. Unit: metric × gain.

    Args:
        values: [P, 2].
        reference: (metric, gain).

    Raises:
        ValueError: `values` is not [P, 2], or the reference is not finite.
    """
    if not np.isfinite(reference).all():
        raise ValueError(f"A hypervolume has a finite reference point; got {reference}.")
    points = _points(values)
    points = points[(points > reference).all(axis=1)]
    points = points[front(points)] - reference
    # Along a front the gain rises and the metric falls: the area is a row of slabs, each as high as its point.
    widths = np.diff(points[:, 1], prepend=0.0)
    # fsum rounds once, at the end: the order of rows and points that add nothing do not change a digit.
    return math.fsum((widths * points[:, 0]).tolist())


def knee(values: npt.ArrayLike) -> int:
    """Return the row on the front that lies farthest above the chord between the front's two ends.

    Both columns are scaled to 0 ... 1 between the ends first; then a point is (metric + gain - 1) / √2
    above the chord. Among equally high points the better metric wins, then the earlier row. So a single point
    is the knee of its front; with two points, or none above the chord, it is the end with the better metric.

    Args:
        values: [P, 2], a front or any points.

    Returns:
        A row number into `values`.

    Raises:
        ValueError: `values` is not [P, 2], or holds no finite row.
    """
    points = _points(values)
    rows = front(points)
    if not len(rows):
        raise ValueError("A knee is a point of a front; there is no finite point.")
    ends = points[rows]
    span = np.ptp(ends, axis=0)
    scaled = (ends - ends.min(axis=0)) / np.where(span > 0, span, 1.0)
    # argmax takes the first of equals, and `rows` runs from the best metric down.
    return int(rows[np.argmax(scaled.sum(axis=1).round(KNEE_DECIMALS))])


def _points(values: npt.ArrayLike) -> Values:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"Points are rows of (metric, gain): [P, 2]; got {list(points.shape)}.")
    return points
