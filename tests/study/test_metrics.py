"""Scores against formulas written out by hand, and against brute force."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.study.metrics import METRICS, constant, evaluate, is_regression

CLASSIFICATIONS = [name for name in METRICS if not is_regression(name) and METRICS[name].summed is None]
# 4 true positives, 1 false positive, 2 false negatives, 3 true negatives
LABELS = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
PREDICTED = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0])

classes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.array(pairs).T
    return labels, predicted.astype(np.int16)  # the type that points keep


def test_two_classes_by_hand() -> None:
    f1 = 2 * 4 / (2 * 4 + 1 + 2)
    matthews = (4 * 3 - 1 * 2) / np.sqrt(5 * 6 * 4 * 5)
    assert evaluate("accuracy", LABELS, PREDICTED) == {"metric": 0.7, "accuracy": 0.7}
    assert evaluate("f1", LABELS, PREDICTED) == pytest.approx({"metric": f1, "f1": f1})
    assert evaluate("accuracy_f1", LABELS, PREDICTED) == pytest.approx(
        {"metric": (0.7 + f1) / 2, "accuracy": 0.7, "f1": f1}
    )
    assert evaluate("matthews", LABELS, PREDICTED)["metric"] == pytest.approx(matthews)


def test_f1_is_that_of_class_one() -> None:
    swapped = 2 * 3 / (2 * 3 + 2 + 1)
    assert evaluate("f1", 1 - LABELS, 1 - PREDICTED)["f1"] == pytest.approx(swapped)


@given(classes)
def test_f1_of_more_classes_is_the_mean_over_them(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = arrays(pairs)
    assume(max(labels.max(), predicted.max()) > 1)
    each = []
    for name in np.union1d(labels, predicted):
        hits = np.sum((labels == name) & (predicted == name))
        each.append(2 * hits / (np.sum(labels == name) + np.sum(predicted == name)))
    assert evaluate("f1", labels, predicted)["f1"] == pytest.approx(np.mean(each))


def test_f1_is_fixed_by_the_task_s_number_of_classes() -> None:
    """Nine rows of the classes 0 and 1, of a task with three; each network has one error."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    near, far = labels.copy(), labels.copy()
    near[0], far[0] = 1, 2
    zero = 2 * 3 / (2 * 3 + 1)  # three of four found, none too many
    one = 2 * 5 / (2 * 5 + 1)  # all five, one too many
    assert evaluate("f1", labels, near, classes=3)["f1"] == pytest.approx((zero + one + 0) / 3)
    assert evaluate("f1", labels, far, classes=3)["f1"] == pytest.approx((zero + 1 + 0) / 3)
    assert evaluate("f1", labels, near, classes=2)["f1"] == pytest.approx(one)
    # ten rows each of two classes out of three: F1 of class 1 alone would be 2/3
    halves = np.repeat([0, 1], 10)
    assert constant("f1", halves, classes=3) == pytest.approx(2 / 3 / 3)
    assert constant("f1", halves, classes=2) == pytest.approx(2 / 3)


@given(classes)
def test_f1_of_a_task_s_classes_is_the_mean_over_all_of_them(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = arrays(pairs)
    hits = [np.sum((labels == name) & (predicted == name)) for name in range(5)]
    counts = [np.sum(labels == name) + np.sum(predicted == name) for name in range(5)]
    each = [2 * hit / count if count else 0.0 for hit, count in zip(hits, counts, strict=True)]
    assert evaluate("f1", labels, predicted, classes=5)["f1"] == pytest.approx(np.mean(each))


@given(classes)
def test_matthews_is_the_correlation_of_indicators(pairs: list[tuple[int, int]]) -> None:
    """Gorodkin 2004: covariances of one-hot rows, summed over classes."""
    labels, predicted = arrays(pairs)
    x, y = np.eye(4)[labels], np.eye(4)[predicted]

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        return float(((a - a.mean(0)) * (b - b.mean(0))).sum())

    spread = covariance(x, x) * covariance(y, y)
    expected = covariance(x, y) / np.sqrt(spread) if spread > 1e-12 else 0.0
    assert evaluate("matthews", labels, predicted)["metric"] == pytest.approx(expected, abs=1e-9)


def test_correlations_by_second_formulas() -> None:
    generator = np.random.default_rng(0)
    labels = generator.permutation(50).astype(np.float32)
    predicted = (labels + generator.normal(0, 20, 50)).astype(np.float32)
    pearson = np.corrcoef(labels, predicted)[0, 1]
    ranks = [np.argsort(np.argsort(values)) for values in (labels, predicted)]
    spearman = 1 - 6 * np.sum((ranks[0] - ranks[1]) ** 2) / (50 * (50**2 - 1))
    scores = evaluate("pearson_spearman", labels, predicted)
    assert scores == pytest.approx(
        {"metric": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman}, abs=1e-6
    )


@pytest.mark.parametrize("last", [3.0, np.nextafter(np.float32(3), np.float32(4))])
def test_a_constant_value_correlates_with_nothing(last: float) -> None:
    predicted = np.array([3, 3, 3, last], dtype=np.float32)
    scores = evaluate("pearson_spearman", np.arange(4, dtype=np.float32), predicted)
    assert scores == {"metric": 0.0, "pearson": 0.0, "spearman": 0.0}


def test_values_that_are_not_finite_have_no_metric() -> None:
    scores = evaluate("pearson_spearman", np.arange(3.0), np.array([0.0, np.nan, 1.0]))
    assert np.isnan(list(scores.values())).all()


@pytest.mark.parametrize(("name", "label"), [("f1", 1), ("matthews", 0), ("matthews", 1)])
def test_a_constant_class_is_worth_nothing(name: str, label: int) -> None:
    assert evaluate(name, np.full(5, label), np.zeros(5, dtype=int))["metric"] == 0.0


@pytest.mark.parametrize("name", sorted(name for name in METRICS if METRICS[name].summed is None))
def test_the_metric_comes_first_and_perfect_is_one(name: str) -> None:
    scores = evaluate(name, LABELS, LABELS)
    assert next(iter(scores)) == "metric"
    assert list(scores.values()) == pytest.approx([1.0] * len(scores))


@given(classes, st.sampled_from(CLASSIFICATIONS))
def test_no_constant_prediction_beats_the_constant(pairs: list[tuple[int, int]], name: str) -> None:
    labels, _ = arrays(pairs)
    found = [evaluate(name, labels, np.full_like(labels, each))["metric"] for each in set(labels.tolist())]
    assert constant(name, labels) == max(found)


def test_constants_by_hand() -> None:
    labels = np.array([0, 0, 0, 1])
    assert constant("accuracy", labels) == 0.75
    assert constant("f1", labels) == pytest.approx(2 / (2 + 3))  # always class 1: the other choice gives 0
    assert constant("accuracy_f1", labels) == pytest.approx(0.375)  # 0.75 and 0; class 1: 0.25 and 0.4
    assert constant("matthews", labels) == 0.0
    assert constant("pearson_spearman", labels) == 0.0


@pytest.mark.parametrize(("labels", "predicted"), [([], []), ([0, 1], [0]), ([[0]], [[0]])])
def test_rows_that_do_not_match_are_refused(labels: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="as many predictions as labels"):
        evaluate("accuracy", np.array(labels), np.array(predicted))


def test_reading_needs_no_heavy_library() -> None:
    code = (
        "import sys, pipeline.study.metrics; print({'torch', 'ray', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
