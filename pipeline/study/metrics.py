"""The task's metrics: one primary score per task, higher = better, and the scores that it is made of.

GLUE's own definitions (Wang et al., arXiv 1804.07461, table 1), computed by scikit-learn and SciPy.
A prediction that is the same for all rows carries no information: F1 of a class never predicted,
Matthews and both correlations are 0 for it, not undefined.

Shapes: V rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.generic]
Scores = dict[str, float]

# Predictions come as float32: a spread below some units in its last place (1.2e-7) is rounding.
CONSTANT_SPREAD = 1e-6


@dataclass(frozen=True)
class Metric:
    """How a task is scored: `score(labels, predictions)` gives the primary one under `metric`, first."""

    score: Callable[[Values, Values], Scores]
    regression: bool = False


def _is_constant(values: Values) -> bool:
    numbers = np.asarray(values, dtype=np.float64)
    return bool(np.ptp(numbers) <= CONSTANT_SPREAD * np.abs(numbers).max())


def _accuracy(labels: Values, predictions: Values) -> float:
    return float(np.mean(labels == predictions))


def _f1(labels: Values, predictions: Values) -> float:
    """Two classes: F1 of class 1. More: the mean over classes of each one's F1 (macro)."""
    from sklearn.metrics import f1_score

    average = "macro" if max(int(labels.max()), int(predictions.max())) > 1 else "binary"
    return float(f1_score(labels, predictions, average=average, zero_division=0.0))


def _matthews(labels: Values, predictions: Values) -> float:
    from sklearn.metrics import matthews_corrcoef

    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _score_accuracy(labels: Values, predictions: Values) -> Scores:
    accuracy = _accuracy(labels, predictions)
    return {"metric": accuracy, "accuracy": accuracy}


def _score_f1(labels: Values, predictions: Values) -> Scores:
    f1 = _f1(labels, predictions)
    return {"metric": f1, "f1": f1}


def _score_accuracy_f1(labels: Values, predictions: Values) -> Scores:
    accuracy, f1 = _accuracy(labels, predictions), _f1(labels, predictions)
    return {"metric": (accuracy + f1) / 2, "accuracy": accuracy, "f1": f1}


def _score_matthews(labels: Values, predictions: Values) -> Scores:
    matthews = _matthews(labels, predictions)
    return {"metric": matthews, "matthews": matthews}


def _score_pearson_spearman(labels: Values, predictions: Values) -> Scores:
    from scipy.stats import pearsonr, spearmanr

    if not np.isfinite(predictions.astype(np.float64)).all():
        return dict.fromkeys(("metric", "pearson", "spearman"), float("nan"))
    if _is_constant(labels) or _is_constant(predictions):
        return dict.fromkeys(("metric", "pearson", "spearman"), 0.0)
    x, y = labels.astype(np.float64), predictions.astype(np.float64)
    pearson = float(pearsonr(x, y).statistic)
    spearman = float(spearmanr(x, y).statistic)
    return {"metric": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman}


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_score_accuracy),
    "f1": Metric(_score_f1),
    "accuracy_f1": Metric(_score_accuracy_f1),
    "matthews": Metric(_score_matthews),
    "pearson_spearman": Metric(_score_pearson_spearman, regression=True),
}


def is_regression(name: str) -> bool:
    """Whether the metric scores predicted values, not classes.

    Raises:
        KeyError: if METRICS has no such name.
    """
    return METRICS[name].regression


def evaluate(name: str, labels: Values, predictions: Values) -> Scores:
    """All scores of the predictions [V] against the labels [V]: `metric` first, then its components.

    Classes are 0 … K-1. `f1` of two classes is that of class 1, of more classes the macro mean; more are
    recognised by a label or a prediction above 1. Predicted values that are not finite give NaN.

    Raises:
        KeyError: if METRICS has no such name.
        ValueError: if there are no rows, or labels and predictions differ in shape.
    """
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            "A metric compares as many predictions as labels, one or more; "
            f"these have the shapes {predictions.shape} and {labels.shape}."
        )
    return METRICS[name].score(labels, predictions)


def constant(name: str, labels: Values) -> float:
    """The metric of the best constant prediction for the labels [V]; 0 for correlations.

    Raises:
        KeyError, ValueError: as `evaluate`.
    """
    if is_regression(name):
        return 0.0
    candidates = np.unique(labels)
    return max(evaluate(name, labels, np.full_like(labels, each))["metric"] for each in candidates)


def standard_error(
    name: str, labels: Values, predictions: Values, *, resamples: int = 200, seed: int = 0
) -> float:
    """The standard error of a metric over rows, by the bootstrap (Efron 1979): labels and predictions [V]."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, len(labels), size=(resamples, len(labels)))
    found = [evaluate(name, labels[chosen], predictions[chosen])["metric"] for chosen in rows]
    return float(np.std(found, ddof=1))
