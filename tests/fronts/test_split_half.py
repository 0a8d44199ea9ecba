"""Luck: fronts chosen on one half of validation, scored on the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fronts.split_half import best_on_other_half, half_scores, halves, metrics_on
from tests.kit.synthetic import ANCHORS, point, record, spec


@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.integers(0, 99))
def test_halves_split_rows_and_classes_evenly(labels: list[int], seed: int) -> None:
    values = np.array(labels)
    first, second = halves(values, seed=seed)
    assert (first ^ second).all()
    assert abs(int(first.sum()) - int(second.sum())) <= 1
    for label in set(labels):
        of_class = values == label
        assert abs(int((first & of_class).sum()) - int((second & of_class).sum())) <= 2


def test_metrics_are_those_of_the_rows() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    rows = np.array([True, True, True, True, False, False, False, False])
    trial = record(0, point(0.0, 0.3, predictions=(0, 1, 1, 1, 0, 0, 0, 0)))
    assert metrics_on(spec(), [trial], labels, rows).tolist() == [[0.75, 0.3]]


def test_pure_luck_is_gone_on_the_other_half() -> None:
    """Networks that guess: the best of them looks good where it was chosen, and nowhere else."""
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 2
    guesses = [generator.integers(0, 2, size=400).tolist() for _ in range(200)]
    trials = [record(i, point(0.5, 0.6, predictions=guess)) for i, guess in enumerate(guesses)]
    chosen, other = best_on_other_half(spec(), trials, labels, min_gain=0.5)
    # the expected maximum of 200 binomial shares of 200 rows is 0.5 + 2.75 * 0.035 = 0.597
    assert chosen == pytest.approx(0.597, abs=0.015)
    assert other == pytest.approx(0.5, abs=0.015)


def test_without_luck_both_halves_agree() -> None:
    labels = np.array([0, 1] * 4)
    perfect = record(0, point(1.0, 0.5, predictions=labels.tolist()))
    scores = half_scores(spec(), [perfect], labels, seed=3)
    # (1 - 0.5) * 0.5 of area, over dense - constant = 0.4
    assert scores.chosen_on == pytest.approx(0.625)
    assert scores.scored_on == pytest.approx(0.625)


def test_a_compression_that_no_point_has_is_refused() -> None:
    with pytest.raises(ValueError, match="No point"):
        best_on_other_half(spec(), [record(0, point(0.9, 0.1))], np.array([0, 1] * 4), min_gain=0.5)


@pytest.mark.parametrize("dense", [0.5, 0.4])
def test_of_a_dense_network_that_has_learned_nothing_there_is_no_share(dense: float) -> None:
    labels = np.array([0, 1] * 4)
    nothing = replace(spec(), anchors=replace(ANCHORS, dense=dense))
    scores = half_scores(nothing, [record(0, point(1.0, 0.5, predictions=labels.tolist()))], labels, seed=3)
    assert np.isnan([scores.chosen_on, scores.scored_on]).all()
