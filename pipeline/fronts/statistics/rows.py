"""The bootstrap over rows: how much of a difference between given networks is the choice of test rows.

It is the part of the noise *within* networks. It does not include the seeds, and so never stands alone: where networks
of equal methods differ by their seeds, one in five and more of its positives is false (tests/fronts/statistics).

Shapes: K networks, V rows, B resamples, C classes, Q sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.fronts.statistics.means import LEVEL, Interval
from pipeline.study.metrics import AGREEMENT, METRICS, is_regression

Rows = npt.NDArray[np.generic]
Values = npt.NDArray[np.float64]

RESAMPLES = 1000


def row_bootstrap(
    metric: str,
    labels: Rows,
    predictions: Rows,
    contrasts: npt.ArrayLike,
    *,
    classes: int = 0,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Interval]:
    """Return percentile intervals of sums of given networks' metrics: one for each row of `contrasts` [Q, K].

    The contrast (1/2, 1/2, -1) is the mean metric of the first two networks minus that of the third. Rows are drawn
    with replacement, the same ones for all networks: the paired bootstrap of Efron and Tibshirani ("An Introduction
    to the Bootstrap", 1993, sections 13.3 and 16.4). An interval's `count` is the number of rows, its mean the sum
    on all rows as they are. `classes`: as of `metrics.evaluate`.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), size=resamples)
    whole = np.ones((1, len(labels)), dtype=np.int64)
    scores = scores_on_resamples(metric, labels, predictions, np.concatenate((whole, drawn)), classes=classes)
    sums = np.asarray(contrasts, dtype=np.float64) @ scores  # [Q, 1 + B]
    ends = np.quantile(sums[:, 1:], (0.5 - level / 2, 0.5 + level / 2), axis=1)
    deviations = sums[:, 1:].std(axis=1, ddof=1)
    return [
        Interval(float(sums[q, 0]), float(low), float(high), float(deviations[q]), len(labels))
        for q, (low, high) in enumerate(ends.T)
    ]


def scores_on_resamples(
    metric: str, labels: Rows, predictions: Rows, counts: Rows, *, classes: int = 0
) -> Values:
    """Return the metric [K, B] of predictions [K, V] on resamples that hold row v counts[b, v] times.

    The same as `metrics.evaluate` on the repeated rows, without repeating them: class metrics come from counts by
    class, correlations from weighted moments.

    Raises:
        KeyError: no metric has that name.
    """
    weights = counts.astype(np.float64)
    summed = METRICS[metric].summed
    if summed is not None:
        sums = [weights @ summed.of_units(labels, network) for network in predictions]
        found = [summed.of_sums(each, weights.sum(axis=1))[metric] for each in sums]
        return np.array(found).reshape(-1, len(counts))
    if is_regression(metric):
        both = metric != "spearman"
        every = [_correlations(labels, row, weights, pearson=both) for row in predictions]
        return np.array(every).reshape(-1, len(counts))
    if metric in ("accuracy", AGREEMENT):
        right: Values = (predictions == labels).astype(np.float64) @ weights.T / weights.sum(axis=1)
        return right
    hit, there, predicted = _tallies(labels, predictions, weights, classes=classes)
    if metric == "matthews":
        return _matthews(hit.sum(axis=-1), there, predicted)
    f1 = _f1(hit, there + predicted, all_count=bool(classes))
    if metric == "f1":
        return f1
    mean: Values = (hit.sum(axis=-1) / there.sum(axis=-1) + f1) / 2
    return mean


def _tallies(
    labels: Rows, predictions: Rows, weights: Values, *, classes: int
) -> tuple[Values, Values, Values]:
    """Return how often each class was hit [K, B, C], there [B, C] and predicted [K, B, C].

    0 `classes`: as many as the rows show.
    """
    numbers = np.arange(max(classes, int(max(labels.max(), predictions.max())) + 1))
    own = labels[:, None] == numbers  # [V, C]
    said = [network[:, None] == numbers for network in predictions]
    return (
        np.stack([weights @ (each & own) for each in said]),
        weights @ own,
        np.stack([weights @ each for each in said]),
    )


def _f1(hit: Values, seen: Values, *, all_count: bool) -> Values:
    """Return 2 TP / (2 TP + FP + FN) of class 1 of two, or its mean over the classes of more.

    `all_count`: also over classes that are neither there nor predicted, as 0; else those are left out.
    """
    each = np.divide(2 * hit, seen, out=np.zeros_like(seen), where=seen > 0)
    if each.shape[-1] <= 2:
        of_one: Values = each[..., 1] if each.shape[-1] > 1 else np.zeros(each.shape[:2])
        return of_one
    found: Values = each.sum(axis=-1) / (each.shape[-1] if all_count else np.maximum((seen > 0).sum(-1), 1))
    return found


def _matthews(hits: Values, there: Values, predicted: Values) -> Values:
    """Return Gorodkin's R_K (Computational Biology and Chemistry 28, 2004), of the hits [K, B] over all classes.

    It is 0 where labels or predictions are constant.
    """
    total = there.sum(axis=-1)
    above = hits * total - (there * predicted).sum(axis=-1)
    below = np.sqrt((total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (there**2).sum(axis=-1)))
    found: Values = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return found


def _correlations(labels: Rows, predictions: Rows, weights: Values, *, pearson: bool) -> Values:
    """Return [B]: Spearman's correlation, or the mean of Pearson's and that."""
    x, y = labels.astype(np.float64), predictions.astype(np.float64)
    spearman = _pearson(_mid_ranks(x, weights), _mid_ranks(y, weights), weights)
    if not pearson:
        return spearman
    linear = _pearson(np.broadcast_to(x, weights.shape), np.broadcast_to(y, weights.shape), weights)
    found: Values = (linear + spearman) / 2
    return found


def _pearson(x: Values, y: Values, weights: Values) -> Values:
    """Return [B]: the correlation of x and y [B, V] under weights; 0 where one of them is constant."""
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    above = (weights * x * y).sum(axis=1)
    below = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    found: Values = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return found


def _mid_ranks(values: Values, weights: Values) -> Values:
    """Return [B, V]: the rank of each row among the resampled ones, equal values sharing the mean of their ranks."""
    unique, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(unique)))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Values = (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, group]
    return ranks
