"""Laws of fronts; the oracles are values worked out by hand, the O(n²) definition and counted cells."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.study.pareto import front, hypervolume, knee

NAN, INF = float("nan"), float("inf")

# Few distinct values, so that ties and duplicates are common; NaN and infinities among them.
coarse = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
spoiled = st.one_of(coarse, st.sampled_from([NAN, INF, -INF]))
fine = st.floats(-10, 10, allow_nan=False)


def points(elements: st.SearchStrategy[float], *, most: int = 14) -> st.SearchStrategy[np.ndarray]:
    return st.integers(0, most).flatmap(lambda p: arrays(np.float64, (p, 2), elements=elements))


def front_by_definition(values: np.ndarray) -> set[int]:
    """Every pair compared, in plain Python."""
    rows = [i for i, row in enumerate(values) if all(np.isfinite(row))]
    return {
        i
        for i in rows
        if not any(
            all(values[j][k] >= values[i][k] for k in (0, 1))
            and any(values[j][k] > values[i][k] for k in (0, 1))
            for j in rows
        )
    }


def volume_by_grid(values: np.ndarray, reference: tuple[float, float]) -> float:
    """The cells of the grid through all coordinates that some point dominates, one by one."""
    kept = [
        row for row in values if np.isfinite(row).all() and row[0] > reference[0] and row[1] > reference[1]
    ]
    metrics = sorted({reference[0], *(row[0] for row in kept)})
    compressions = sorted({reference[1], *(row[1] for row in kept)})
    return sum(
        (m1 - m0) * (c1 - c0)
        for m0, m1 in pairwise(metrics)
        for c0, c1 in pairwise(compressions)
        if any(row[0] >= m1 and row[1] >= c1 for row in kept)
    )


class TestFront:
    def test_by_hand(self) -> None:
        values = [
            (0.90, 0.1),  # 0 on the front
            (0.85, 0.1),  # 1 under 0 (same compression)
            (0.80, 0.5),  # 2 on the front
            (0.80, 0.4),  # 3 under 2 (same metric)
            (0.60, 0.9),  # 4 on the front
            (0.80, 0.5),  # 5 equal to 2
            (NAN, 0.95),  # 6 no point
            (0.99, INF),  # 7 no point
        ]
        assert front(values).tolist() == [0, 2, 5, 4]

    def test_of_nothing(self) -> None:
        assert front(np.empty((0, 2))).tolist() == []
        assert front([(NAN, NAN), (INF, 0.0)]).tolist() == []

    @pytest.mark.parametrize("wrong", [[1.0, 2.0], [[1.0, 2.0, 3.0]], []])
    def test_refuses_other_shapes(self, wrong: list[float]) -> None:
        with pytest.raises(ValueError, match=r"\[P, 2\]"):
            front(wrong)

    @given(points(spoiled))
    def test_agrees_with_the_definition(self, values: np.ndarray) -> None:
        rows = front(values)
        assert len(set(rows)) == len(rows)
        assert set(rows) == front_by_definition(values)

    @given(points(fine, most=40))
    def test_agrees_with_the_definition_on_distinct_values(self, values: np.ndarray) -> None:
        assert set(front(values)) == front_by_definition(values)

    @given(points(coarse))
    def test_is_sorted_by_compression_then_row(self, values: np.ndarray) -> None:
        rows = front(values)
        assert sorted(rows, key=lambda row: (values[row, 1], row)) == rows.tolist()

    @given(points(spoiled), st.randoms(use_true_random=False))
    def test_row_order_is_irrelevant(self, values: np.ndarray, random: Random) -> None:
        order = list(range(len(values)))
        random.shuffle(order)
        assert {order[row] for row in front(values[order])} == set(front(values))

    @given(points(spoiled))
    def test_front_of_the_front_is_the_front(self, values: np.ndarray) -> None:
        kept = values[front(values)]
        assert front(kept).tolist() == list(range(len(kept)))

    @given(points(spoiled), coarse, coarse)
    def test_a_dominated_point_changes_nothing(self, values: np.ndarray, down: float, left: float) -> None:
        rows = front(values)
        if not len(rows):
            return
        worse = values[rows[0]] - (down + 0.1, left)
        assert front(np.vstack([values, worse])).tolist() == rows.tolist()

    @given(points(coarse), st.sampled_from([(NAN, 2.0), (2.0, NAN), (INF, 2.0), (2.0, INF), (NAN, NAN)]))
    def test_nan_and_infinity_never_enter_and_evict_nothing(
        self, values: np.ndarray, row: tuple[float, float]
    ) -> None:
        assert front(np.vstack([values, row])).tolist() == front(values).tolist()

    @given(points(coarse))
    def test_equal_points_all_stay(self, values: np.ndarray) -> None:
        twice = front(np.vstack([values, values]))
        assert sorted(twice) == sorted([*front(values), *(front(values) + len(values))])


class TestHypervolume:
    def test_by_hand(self) -> None:
        # Slabs above (0.5, 0): 0.2 wide and 0.4 high, then 0.3 wide and 0.3 high, then 0.4 wide and 0.1 high.
        values = [(0.9, 0.2), (0.8, 0.5), (0.6, 0.9), (0.7, 0.3), (0.8, 0.5)]
        assert hypervolume(values, (0.5, 0.0)) == pytest.approx(0.08 + 0.09 + 0.04)

    @pytest.mark.parametrize("row", [(0.5, 0.9), (0.4, 0.9), (0.9, 0.0), (0.9, -0.1), (NAN, 0.9), (0.9, INF)])
    def test_points_that_do_not_beat_the_reference_add_nothing(self, row: tuple[float, float]) -> None:
        assert hypervolume([row], (0.5, 0.0)) == 0.0
        assert hypervolume([(0.7, 0.5), row], (0.5, 0.0)) == pytest.approx(0.1)

    def test_of_nothing(self) -> None:
        assert hypervolume(np.empty((0, 2)), (0.0, 0.0)) == 0.0

    @pytest.mark.parametrize("reference", [(NAN, 0.0), (0.0, INF)])
    def test_refuses_a_reference_that_is_not_finite(self, reference: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="finite reference"):
            hypervolume([(1.0, 1.0)], reference)

    @given(points(spoiled), st.tuples(coarse, coarse))
    def test_agrees_with_counting_cells(self, values: np.ndarray, reference: tuple[float, float]) -> None:
        # Multiples of 1/4: both ways are exact.
        assert hypervolume(values, reference) == volume_by_grid(values, reference)

    @given(points(fine), st.randoms(use_true_random=False))
    def test_order_and_repeats_change_no_digit(self, values: np.ndarray, random: Random) -> None:
        order = list(range(len(values))) * 2
        random.shuffle(order)
        assert hypervolume(values[order], (-1.0, -1.0)) == hypervolume(values, (-1.0, -1.0))

    @given(points(fine, most=10))
    def test_agrees_with_counting_cells_on_distinct_values(self, values: np.ndarray) -> None:
        expected = volume_by_grid(values, (0.0, 0.0))
        assert hypervolume(values, (0.0, 0.0)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


class TestKnee:
    def test_by_hand(self) -> None:
        # Scaled by 0.3 and 0.8: heights 0, 2/3 + 1/2 - 1, 1/3 + 7/8 - 1, 0.
        assert knee([(0.9, 0.1), (0.8, 0.5), (0.7, 0.8), (0.6, 0.9)]) == 2
        assert knee([(0.9, 0.1), (0.8, 0.7), (0.7, 0.8), (0.6, 0.9)]) == 1

    def test_is_a_row_of_what_was_given(self) -> None:
        values = [(NAN, 2.0), (0.5, 0.3), (0.6, 0.9), (0.9, 0.1), (0.85, 0.8)]
        assert knee(values) == 4

    def test_one_point_is_the_knee(self) -> None:
        assert knee([(0.3, 0.2), (0.1, 0.1)]) == 0

    def test_of_two_points_the_better_metric(self) -> None:
        assert knee([(0.3, 0.9), (0.8, 0.2)]) == 1

    def test_of_equally_high_points_the_better_metric(self) -> None:
        assert knee([(0.0, 1.0), (0.5, 0.75), (0.75, 0.5), (1.0, 0.0)]) == 2

    def test_of_points_on_the_chord_the_better_metric(self) -> None:
        # In floating point some of these lie 1e-16 above the chord.
        values = [(0.9 - 0.07 * i, 0.1 + 0.07 * i) for i in range(10)]
        assert knee(values[::-1]) == 9

    def test_of_equal_points_the_earlier_row(self) -> None:
        assert knee([(1.0, 0.0), (0.9, 0.9), (0.9, 0.9), (0.0, 1.0)]) == 1

    def test_below_the_chord_an_end(self) -> None:
        assert knee([(0.0, 1.0), (0.2, 0.2), (1.0, 0.0)]) == 2

    @given(points(fine, most=20))
    def test_is_the_farthest_by_the_distance_formula(self, values: np.ndarray) -> None:
        rows = front(values)
        if len(np.unique(values[rows], axis=0)) < 3:
            return
        first, last = values[rows[0]], values[rows[-1]]
        if np.abs(last - first).min() < 1e-3:
            return
        scaled = (values - first) / np.abs(last - first)  # ends at (0, 0) and (-1, 1)
        distance = (scaled @ np.array([1.0, 1.0])) / np.sqrt(2)  # from the line through both, signed
        assert knee(values) in rows
        assert distance[knee(values)] == pytest.approx(distance[rows].max(), abs=1e-9)

    def test_refuses_nothing(self) -> None:
        with pytest.raises(ValueError, match="no finite point"):
            knee([(NAN, 1.0)])


def test_320_000_points_take_less_than_a_second() -> None:
    # 10,000 trials with 32 points each; all on one front is the hardest case.
    compression = np.random.default_rng(0).permutation(320_000) / 320_000
    values = np.column_stack([1 - compression**2, compression])
    start = time.process_time()
    rows = front(values)
    area = hypervolume(values, (0.0, 0.0))
    peak = knee(values)
    assert time.process_time() - start < 1.0
    assert len(rows) == 320_000
    assert area == pytest.approx(2 / 3, abs=1e-5)  # ∫ 1 - c² from 0 to 1
    assert compression[peak] == pytest.approx(0.5, abs=1e-5)  # where 1 - c² + c is greatest


def test_needs_numpy_only() -> None:
    code = (
        "import sys, pipeline.study.pareto;"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pyarrow', 'scipy', 'pydantic'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
