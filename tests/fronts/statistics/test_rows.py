"""Resampled metrics against the metric of the repeated rows; the bootstrap against its normal limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.fronts.statistics import row_bootstrap, scores_on_resamples, welch
from pipeline.study.metrics import METRICS, evaluate, is_regression


@pytest.mark.parametrize("metric", sorted(name for name in METRICS if METRICS[name].summed is None))
@pytest.mark.parametrize("classes", [2, 4])
def test_a_resample_scores_as_its_repeated_rows(metric: str, classes: int) -> None:
    generator = np.random.default_rng(classes)
    if is_regression(metric):
        labels = generator.integers(0, 11, 40).astype(np.float32) / 2  # with ties
        predictions = (labels + generator.normal(0, 1, (3, 40))).astype(np.float32)
    else:
        labels = generator.integers(0, classes, 40)
        predictions = generator.integers(0, classes, (3, 40)).astype(np.int16)
        predictions[2] = 1  # a constant prediction
    counts = generator.multinomial(40, np.full(40, 1 / 40), size=5)
    expected = [
        [evaluate(metric, np.repeat(labels, c), np.repeat(row, c))["metric"] for c in counts]
        for row in predictions
    ]
    if not is_regression(metric) and classes > 2 and metric != "accuracy":
        # a resample may lack a class that the whole has: which F1 is meant is decided by the whole
        assert max(labels.max(), predictions.max()) > 1
    assert scores_on_resamples(metric, labels, predictions, counts) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("metric", sorted(name for name in METRICS if METRICS[name].summed is not None))
def test_a_resample_of_units_scores_as_its_repeated_units(metric: str) -> None:
    generator = np.random.default_rng(1)
    if metric in ("micro_f1", "macro_f1", "subset_accuracy"):
        labels, predictions = generator.integers(0, 2, (40, 3)), generator.integers(0, 2, (3, 40, 3))
    elif metric == "entity_f1":  # O, B and I of two types
        tags = np.array([0, 9, 10, 17, 18])
        labels, predictions = (tags[generator.integers(0, 5, shape)] for shape in ((40, 6), (3, 40, 6)))
    else:
        labels, predictions = np.zeros(40), generator.random((3, 40, 2))
    counts = generator.multinomial(40, np.full(40, 1 / 40), size=5)
    expected = [
        [evaluate(metric, np.repeat(labels, c, axis=0), np.repeat(each, c, axis=0))["metric"] for c in counts]
        for each in predictions
    ]
    assert scores_on_resamples(metric, labels, predictions, counts) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("metric", ["f1", "accuracy_f1", "matthews", "accuracy"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_resample_has_the_task_s_classes_whatever_it_holds(metric: str, classes: int) -> None:
    """Rows of the first two classes alone, predicted among the task's classes."""
    generator = np.random.default_rng(classes)
    labels = generator.integers(0, 2, 12)
    predictions = generator.integers(0, classes, (3, 12)).astype(np.int16)
    predictions[1] = labels
    counts = generator.multinomial(12, np.full(12, 1 / 12), size=6)
    expected = [
        [evaluate(metric, np.repeat(labels, c), np.repeat(row, c), classes=classes)["metric"] for c in counts]
        for row in predictions
    ]
    found = scores_on_resamples(metric, labels, predictions, counts, classes=classes)
    assert found == pytest.approx(np.array(expected))


def test_its_width_is_that_of_the_normal_limit() -> None:
    """Accuracy of one network against another: the variance of a mean of row differences in -1, 0, 1."""
    generator = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=np.int64)
    first, second = generator.random((2, 1, 1000)) < [[[0.2]], [[0.3]]]
    (found,) = row_bootstrap("accuracy", labels, np.concatenate((first, second)).astype(np.int16), [[1, -1]])
    rows = (first[0] == 0).astype(float) - (second[0] == 0)
    assert found.mean == pytest.approx(rows.mean())
    assert found.deviation == pytest.approx(rows.std() / math.sqrt(1000), rel=0.1)
    assert found.low == pytest.approx(rows.mean() - 1.96 * rows.std() / math.sqrt(1000), abs=0.004)


def test_rows_alone_call_too_much_where_seeds_differ() -> None:
    """Why it never stands alone: equal methods, three seeds each, whose networks differ by two points."""
    generator = np.random.default_rng(1)
    by_rows = by_seeds = 0
    labels = np.zeros(800, dtype=np.int64)
    for _ in range(100):
        worth = generator.normal(0.8, 0.02, (2, 3, 1))
        wrong = (generator.random((2, 3, 800)) > worth).astype(np.int16)
        (found,) = row_bootstrap(
            "accuracy", labels, wrong.reshape(6, 800), [[1 / 3] * 3 + [-1 / 3] * 3], resamples=200
        )
        by_rows += not found.low <= 0 <= found.high
        by_seeds += welch(*(1 - wrong).mean(axis=2)).p < 0.05
    assert by_rows > 20
    assert by_seeds <= 10


def test_rows_are_the_same_for_all_networks() -> None:
    labels = np.array([0, 1] * 50)
    row = np.random.default_rng(2).integers(0, 2, 100).astype(np.int16)
    same, alone = row_bootstrap("accuracy", labels, np.stack((row, row)), [[1, -1], [1, 0]])
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    assert alone.low < alone.mean < alone.high
