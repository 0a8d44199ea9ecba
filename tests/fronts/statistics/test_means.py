"""t intervals and tests against scipy and closed forms; coverage, false calls and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from pipeline.fronts.statistics import POWER, detectable, holm, interval, paired, welch

A, B = [0.71, 0.74, 0.69, 0.78], [0.70, 0.72, 0.66]
PER_CENT = st.floats(0.001, 1.0)


def test_an_interval_is_students() -> None:
    found = interval(A)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(A), scale=stats.sem(A))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(A), low, high))
    assert found.deviation == pytest.approx(np.std(A, ddof=1))
    # three values by hand: mean 2, s 1, t(0.975; 2) = 4.3027
    assert interval([1, 2, 3]).high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-6)


def test_one_value_has_no_spread_and_none_no_mean() -> None:
    one = interval([0.5])
    assert (one.mean, one.count) == (0.5, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.deviation)
    assert math.isnan(interval([]).mean)


def test_an_interval_in_words() -> None:
    assert f"{interval([1, 2, 3]):.2f}" == "2.00 ± 2.48"  # 4.302653 / √3 = 2.484
    assert f"{interval([1, 2, 3]):+.1f}" == "+2.0 ± 2.5"
    assert f"{interval([0.5]):.2f}" == "0.50"


def test_welch_is_scipys() -> None:
    found, reference = welch(A, B), stats.ttest_ind(A, B, equal_var=False)
    assert found.p == pytest.approx(reference.pvalue)
    assert found.freedom == pytest.approx(reference.df)
    bounds = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert not found.paired


def test_paired_is_scipys() -> None:
    found, reference = paired(A[:3], B), stats.ttest_rel(A[:3], B)
    assert found.p == pytest.approx(reference.pvalue)
    bounds = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    with pytest.raises(ValueError, match="one length"):
        paired(A, B)


@pytest.mark.parametrize("test", [welch, paired])
@pytest.mark.parametrize(("one", "other"), [([0.5], [0.4]), ([0.5, 0.5], [0.4, 0.4]), ([], [])])
def test_without_a_spread_nothing_is_called(test: object, one: list[float], other: list[float]) -> None:
    assert math.isnan(test(one, other).p)  # type: ignore[operator]


def test_a_spread_of_the_last_bits_is_none() -> None:
    """0.80 - 0.70, 0.82 - 0.72 and 0.84 - 0.74 are 0.1 but for rounding, which made p 1e-31 of an exact tie."""
    one, other = [0.80, 0.82, 0.84], [0.70, 0.72, 0.74]
    assert np.std(np.subtract(one, other)) > 0
    assert math.isnan(paired(one, other).p)
    assert math.isnan(welch([0.1 + 0.2, 0.3, 0.3], [0.2, 0.2]).p)
    assert paired([0.8, 0.82, 0.84], [0.7, 0.72, 0.7401]).p < 1e-5  # a small spread is one


def test_a_sample_is_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        interval([0.5, math.nan])


def test_holm_by_hand() -> None:
    # sorted 0.01 × 4, 0.02 × 3, 0.03 × 2 -> 0.06 as it may not fall, 0.04 × 1 -> 0.06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    corrected = holm([math.nan, 0.03, 0.9])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.06, 0.9])
    assert holm([]) == []


@given(st.lists(PER_CENT, min_size=1, max_size=8))
def test_holm_rejects_what_its_definition_rejects(p_values: list[float]) -> None:
    """Step down: reject the least p while p(i) <= α / (m - i); stop at the first that is larger."""
    level = 0.05
    rejected: set[int] = set()
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    for step, at in enumerate(order):
        if p_values[at] > level / (len(order) - step):
            break
        rejected.add(at)
    assert {at for at, p in enumerate(holm(p_values)) if p <= level * (1 + 1e-12)} == rejected


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("is_paired", [False, True])
@pytest.mark.parametrize("tests", [1, 6])
def test_a_detectable_difference_is_detected_that_often(seeds: int, is_paired: bool, tests: int) -> None:
    """Its power by integrating over the spread that a sample happens to have: a second formula."""
    difference = detectable(0.02, seeds, paired=is_paired, tests=tests)
    freedom = seeds - 1 if is_paired else 2 * seeds - 2
    error = 0.02 * math.sqrt((1 if is_paired else 2) / seeds)
    bar = stats.t.ppf(1 - 0.025 / tests, freedom)

    def called(chi2: float) -> float:
        return float(
            stats.norm.sf(bar * math.sqrt(chi2 / freedom) - difference / error)
            * stats.chi2.pdf(chi2, freedom)
        )

    power, _ = integrate.quad(called, 0, stats.chi2.ppf(1 - 1e-9, freedom), limit=200)
    assert power == pytest.approx(POWER, abs=1e-4)


def test_more_seeds_see_smaller_differences() -> None:
    seen = [detectable(1.0, seeds) for seeds in (2, 3, 5, 10, 100)]
    assert seen == sorted(seen, reverse=True)
    # many seeds: (z(0.975) + z(0.8)) √(2 / n)
    assert seen[-1] == pytest.approx((1.959964 + 0.841621) * math.sqrt(0.02), rel=0.02)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_as_often_as_they_say(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(0.7, 0.02, (2000, seeds))
    covered = sum(found.low <= 0.7 <= found.high for found in map(interval, values))
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)  # 3 standard errors


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("test", [welch, paired])
def test_equal_samples_are_rarely_called_different(seeds: int, test: object) -> None:
    pairs = np.random.default_rng(seeds).normal(0.7, 0.02, (2000, 2, seeds))
    calls = sum(test(one, other).p < 0.05 for one, other in pairs)  # type: ignore[operator]
    assert calls / 2000 <= 0.05 + 0.015


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("errors", [2.0, 3.0, 4.0])
def test_a_true_difference_is_called_as_often_as_theory_says(seeds: int, errors: float) -> None:
    """Of two standard errors of the design and more; the theory is Student's t of equal spreads."""
    pairs = np.random.default_rng(seeds).normal(0.7, 0.02, (1000, 2, seeds))
    pairs[:, 0] += errors * 0.02 * math.sqrt(2 / seeds)
    calls = sum(welch(one, other).p < 0.05 for one, other in pairs)
    theory = stats.nct.sf(stats.t.ppf(0.975, 2 * seeds - 2), 2 * seeds - 2, errors)
    assert calls / 1000 >= theory - 0.10
