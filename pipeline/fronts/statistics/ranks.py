"""Several methods on several tasks: average ranks, and how far apart two of them must be.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006, sections 3.2.2 and 3.2.3.
Shapes: T tasks, M methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pipeline.fronts.statistics.means import LEVEL

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Average ranks of methods over tasks (1 = best), and whether they differ at all."""

    ranks: tuple[float, ...]  # [M]
    p: float  # of "all methods are equal"; NaN for fewer than 2 tasks or if nothing differs anywhere
    critical_difference: float  # two average ranks farther apart than this differ


def rank(scores: npt.ArrayLike, *, level: float = LEVEL) -> Ranking:
    """Rank methods by their scores [T, M], higher = better, equal scores sharing their ranks.

    Friedman's statistic in the form that holds for ties, (M - 1) Σ_j (S_j - T (M + 1)/2)² / Σ_ij (r_ij - (M + 1)/2)²
    with S_j the sum of a method's ranks (Conover, "Practical Nonparametric Statistics", 1999, section 5.8), then
    Iman and Davenport's F = (T - 1) χ² / (T (M - 1) - χ²) (Communications in Statistics A 9, 1980).

    Raises:
        ValueError: not [T, M] with at least two methods, or a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"Ranks are of finite scores [tasks, methods], two methods or more; given: {values}."
        )
    tasks, methods = values.shape
    places = np.array([_places(-row) for row in values])
    off = places - (methods + 1) / 2
    spread = float((off**2).sum())
    p = math.nan
    if tasks > 1 and spread > 0:
        statistic = (methods - 1) * float((off.sum(axis=0) ** 2).sum()) / spread
        rest = tasks * (methods - 1) - statistic
        f = (tasks - 1) * statistic / rest if rest > 0 else math.inf
        p = float(special.fdtrc(methods - 1, (methods - 1) * (tasks - 1), f))
    ranks = tuple(float(mean) for mean in places.mean(axis=0))
    return Ranking(ranks, p, critical_difference(methods, tasks, level=level))


def critical_difference(methods: int, tasks: int, *, level: float = LEVEL) -> float:
    """Return Nemenyi's q √(M (M + 1) / (6 T)), q the studentised range's quantile over √2.

    Demšar 2006, section 3.2.2.
    """
    from scipy.stats import studentized_range  # slow to import, and used here only

    q = float(studentized_range.ppf(level, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * tasks))


def cliques(ranking: Ranking) -> list[tuple[int, ...]]:
    """Return the largest groups of methods, best first, whose average ranks are within the critical difference."""
    order = sorted(range(len(ranking.ranks)), key=lambda method: ranking.ranks[method])
    found: list[tuple[int, ...]] = []
    for start, first in enumerate(order):
        limit = ranking.ranks[first] + ranking.critical_difference
        group = tuple(method for method in order[start:] if ranking.ranks[method] <= limit)
        if len(group) > 1 and not any(set(group) <= set(other) for other in found):
            found.append(group)
    return found


def _places(values: Values) -> Values:
    """Return the rank of each value from the least (1), equal values sharing the mean of their places."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Values = (last - (counts - 1) / 2)[at]
    return shared
