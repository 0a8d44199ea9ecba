"""Ranks against scipy and the numbers in Demšar's paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.fronts.statistics import cliques, critical_difference, rank
from pipeline.fronts.statistics.ranks import Ranking

# Demšar 2006, table 6: AUC of four variants of C4.5 on 14 data sets
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip


def test_average_ranks_are_demsars() -> None:
    found = rank(DEMSAR)
    assert found.ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)


def test_friedman_is_scipys_and_iman_davenport_follows() -> None:
    chi2 = stats.friedmanchisquare(*DEMSAR.T).statistic
    f = 13 * chi2 / (14 * 3 - chi2)
    assert rank(DEMSAR).p == pytest.approx(stats.f.sf(f, 3, 39))


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_demsars_table(methods: int, q: float) -> None:
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(expected, rel=5e-4)


def test_cliques_are_the_largest_groups_that_do_not_differ() -> None:
    assert cliques(Ranking((1.0, 3.0, 2.0, 4.0), 0.01, 1.2)) == [(0, 2), (2, 1), (1, 3)]
    assert cliques(Ranking((1.0, 1.5, 4.0), 0.01, 1.0)) == [(0, 1)]
    assert cliques(Ranking((2.0, 1.5, 2.5), 0.6, 2.0)) == [(1, 0, 2)]


def test_what_differs_nowhere_has_no_p_value() -> None:
    assert math.isnan(rank([[0.5, 0.5], [0.6, 0.6]]).p)
    assert math.isnan(rank([[0.5, 0.7]]).p)
    assert rank([[0.5, 0.7]] * 3).p == 0.0  # the same order everywhere
    with pytest.raises(ValueError, match="finite scores"):
        rank([[0.5, math.nan]])
