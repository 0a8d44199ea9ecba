"""Attainment against its definition, point by point; interpolation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.fronts.statistics import attained, attainment_curve, metric_at

ONE = np.array([(0.9, 0.0), (0.8, 0.5), (0.6, 0.75), (0.7, 0.2)])  # the last one is dominated


def test_between_two_points_the_metric_is_on_their_line() -> None:
    found = metric_at(ONE, [0.0, 0.25, 0.5, 0.625, 0.75, 0.8], beyond=0.5)
    assert found == pytest.approx([0.9, 0.85, 0.8, 0.7, 0.6, 0.5])


def test_left_of_a_front_its_first_point_holds() -> None:
    assert metric_at([(0.8, 0.5), (0.8, 0.5), (0.7, 0.6)], [0.1, 0.5], beyond=0.5) == pytest.approx(
        [0.8, 0.8]
    )
    assert metric_at(np.empty((0, 2)), [0.1], beyond=0.5) == pytest.approx([0.5])


FRONTS = st.lists(
    arrays.arrays(
        np.float64, st.tuples(st.integers(0, 6), st.just(2)), elements=st.integers(0, 8).map(float)
    ),
    min_size=1,
    max_size=5,
)
GAINS = np.arange(-0.5, 9.5, 0.5)


@given(FRONTS)
def test_attained_is_the_best_metric_of_all_points_as_small(fronts: list[np.ndarray]) -> None:
    expected = [
        [max((m for m, g in values if g >= gain), default=-1.0) for gain in GAINS] for values in fronts
    ]
    assert attained(fronts, GAINS, beyond=-1.0).tolist() == expected


@given(FRONTS, st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_a_share_of_the_fronts_attains_its_curve_and_nothing_above(
    fronts: list[np.ndarray], share: float
) -> None:
    heights = attained(fronts, GAINS, beyond=-1.0)
    curve = attainment_curve(heights, share)
    assert ((heights >= curve).mean(axis=0) >= share).all()
    assert ((heights > curve).mean(axis=0) < share).all()


def test_the_median_of_three_is_the_second() -> None:
    heights = np.array([[0.9, 0.5], [0.7, 0.6], [0.8, 0.4]])
    assert attainment_curve(heights, 0.5).tolist() == [0.8, 0.5]
    with pytest.raises(ValueError, match="one front"):
        attainment_curve(np.empty((0, 2)), 0.5)
