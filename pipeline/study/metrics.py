"""The metrics of tasks: one primary score per task, higher = better, and its component scores.

GLUE's own definitions (Wang et al., arXiv 1804.07461, table 1), computed by scikit-learn and SciPy.
A prediction that is the same for all rows carries no information: F1 of a class never predicted,
Matthews and both correlations are 0 for it, not undefined.

Shapes: V rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from pipeline.study.summed_metrics import ENTITIES, LABELS, Summed, means

Values = npt.NDArray[np.generic]
Scores = dict[str, float]

# Predictions come as float32: a spread below some units in its last place (1.2e-7) is rounding.
CONSTANT_SPREAD = 1e-6


@dataclass(frozen=True)
class Metric:
    """A metric: `score(labels, predictions)` returns the primary score first, as `metric`, then its components.

    Its third argument is the number of the task's classes.
    """

    score: Callable[[Values, Values, int], Scores]
    regression: bool = False
    summed: Summed | None = None  # how it follows from sums over units, if it does

    @classmethod
    def of(cls, name: str, summed: Summed) -> Self:
        """Return a metric that follows from sums over units; `name` is that of its scores which is primary."""

        def score(labels: Values, predictions: Values, classes: int) -> Scores:
            del classes
            sums = summed.of_units(labels, predictions).sum(axis=0)
            found = {
                each: float(value)
                for each, value in summed.of_sums(sums, np.array(float(len(labels)))).items()
            }
            return {"metric": found[name]} | found

        return cls(score, summed=summed)


def _is_constant(values: Values) -> bool:
    numbers = np.asarray(values, dtype=np.float64)
    return bool(np.ptp(numbers) <= CONSTANT_SPREAD * np.abs(numbers).max())


def _accuracy(labels: Values, predictions: Values) -> float:
    return float(np.mean(labels == predictions))


def _f1(labels: Values, predictions: Values, classes: int) -> float:
    """Return F1 of class 1 for two classes, the mean over classes (macro) for more: all, or 0 `classes`: those seen."""
    from sklearn.metrics import f1_score

    if (classes or int(max(labels.max(), predictions.max())) + 1) <= 2:
        return float(f1_score(labels, predictions, average="binary", zero_division=0.0))
    every = list(range(classes)) if classes else None
    return float(f1_score(labels, predictions, labels=every, average="macro", zero_division=0.0))


def _matthews(labels: Values, predictions: Values) -> float:
    from sklearn.metrics import matthews_corrcoef

    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _score_accuracy(labels: Values, predictions: Values, _classes: int) -> Scores:
    accuracy = _accuracy(labels, predictions)
    return {"metric": accuracy, "accuracy": accuracy}


def _score_f1(labels: Values, predictions: Values, classes: int) -> Scores:
    f1 = _f1(labels, predictions, classes)
    return {"metric": f1, "f1": f1}


def _score_accuracy_f1(labels: Values, predictions: Values, classes: int) -> Scores:
    accuracy, f1 = _accuracy(labels, predictions), _f1(labels, predictions, classes)
    return {"metric": (accuracy + f1) / 2, "accuracy": accuracy, "f1": f1}


def _score_matthews(labels: Values, predictions: Values, _classes: int) -> Scores:
    matthews = _matthews(labels, predictions)
    return {"metric": matthews, "matthews": matthews}


def _score_pearson_spearman(labels: Values, predictions: Values, _classes: int) -> Scores:
    from scipy.stats import pearsonr, spearmanr

    if not np.isfinite(predictions.astype(np.float64)).all():
        return dict.fromkeys(("metric", "pearson", "spearman"), float("nan"))
    if _is_constant(labels) or _is_constant(predictions):
        return dict.fromkeys(("metric", "pearson", "spearman"), 0.0)
    x, y = labels.astype(np.float64), predictions.astype(np.float64)
    pearson = float(pearsonr(x, y).statistic)
    spearman = float(spearmanr(x, y).statistic)
    return {"metric": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman}


def _score_agreement(labels: Values, predictions: Values, _classes: int) -> Scores:
    agreement = _accuracy(labels, predictions)
    return {"metric": agreement, "agreement": agreement}


def _score_spearman(labels: Values, predictions: Values, _classes: int) -> Scores:
    spearman = _score_pearson_spearman(labels, predictions, 0)["spearman"]
    return {"metric": spearman, "spearman": spearman}


AGREEMENT = (
    "agreement"  # with the dense network: the accuracy against its predictions, on rows without labels
)

METRICS: dict[str, Metric] = {
    "accuracy": Metric(_score_accuracy),
    "f1": Metric(_score_f1),
    "accuracy_f1": Metric(_score_accuracy_f1),
    "matthews": Metric(_score_matthews),
    AGREEMENT: Metric(_score_agreement),
    "pearson_spearman": Metric(_score_pearson_spearman, regression=True),
    "spearman": Metric(_score_spearman, regression=True),
    "micro_f1": Metric.of("micro_f1", LABELS),
    "macro_f1": Metric.of("macro_f1", LABELS),
    "subset_accuracy": Metric.of("subset_accuracy", LABELS),
    "entity_f1": Metric.of("entity_f1", ENTITIES),
    "ndcg_10": Metric.of("ndcg_10", means("ndcg_10", "mrr_10")),
    "answer_f1": Metric.of("answer_f1", means("answer_f1", "exact_match")),
    "log_likelihood": Metric.of("log_likelihood", means("log_likelihood")),
    "cosine": Metric.of("cosine", means("cosine")),
}


def is_regression(name: str) -> bool:
    """Return whether the metric scores predicted values instead of classes.

    Raises:
        KeyError: METRICS has no such name.
    """
    return METRICS[name].regression


def evaluate(name: str, labels: Values, predictions: Values, *, classes: int = 0) -> Scores:
    """Return all scores of the predictions [V] against the labels [V]: `metric` first, then its components.

    Predicted values that are not finite give NaN.

    Args:
        name: of the metric.
        labels: 0 … K-1, or values.
        predictions: likewise.
        classes: K, of the task, not of these rows: `f1` of two classes is that of class 1, of more the mean over all K
            (a class that no row has and that nothing predicts counts 0). 0: not known, those that the rows show.

    Raises:
        KeyError: METRICS has no such name.
        ValueError: there are no rows, or labels and predictions differ in shape.
    """
    summed = METRICS[name].summed is not None
    if (
        len(labels) != len(predictions)
        or not len(labels)
        or not (summed or labels.ndim == predictions.ndim == 1)
    ):
        raise ValueError(
            "A metric takes as many predictions as labels, at least one; "
            f"these have the shapes {predictions.shape} and {labels.shape}."
        )
    return METRICS[name].score(labels, predictions, classes)


def constant(name: str, labels: Values, *, classes: int = 0) -> float:
    """Return the metric of the best constant prediction for the labels [V]; 0 for correlations.

    `classes`: as of `evaluate`.

    Raises:
        KeyError, ValueError: as `evaluate`.
    """
    if is_regression(name):
        return 0.0
    candidates = np.unique(labels)
    return max(
        evaluate(name, labels, np.full_like(labels, each), classes=classes)["metric"] for each in candidates
    )


def standard_error(
    name: str,
    labels: Values,
    predictions: Values,
    *,
    classes: int = 0,
    resamples: int = 200,
    seed: int = 0,
) -> float:
    """Return the standard error of a metric over rows [V], by the bootstrap (Efron 1979).

    `classes`: as of `evaluate`.
    """
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, len(labels), size=(resamples, len(labels)))
    found = [
        evaluate(name, labels[chosen], predictions[chosen], classes=classes)["metric"] for chosen in rows
    ]
    return float(np.std(found, ddof=1))
