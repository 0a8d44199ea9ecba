"""The arithmetic of a price, against hand-worked and brute-force values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.driver.plan.pricing import (
    SIMULATED,
    Basis,
    Cost,
    Number,
    Overhead,
    makespan,
    price,
    started_before,
    started_within,
)
from pipeline.driver.search.budget import Budget

SECONDS = st.lists(st.integers(1, 50), min_size=1, max_size=12)


def by_the_second(seconds: list[int], slots: int) -> tuple[int, list[int]]:
    """Tick by tick: when all have ended, and when each one started."""
    running: list[int] = []
    starts, now, waiting = [], 0, list(seconds)
    while waiting or running:
        running = [left for left in running if left > 0]
        while waiting and len(running) < slots:
            starts.append(now)
            running.append(waiting.pop(0))
        if not running:
            break
        now, running = now + 1, [left - 1 for left in running]
    return now, starts


@given(SECONDS, st.integers(1, 4))
def test_makespan_is_what_a_tick_by_tick_simulation_gives(seconds: list[int], slots: int) -> None:
    assert makespan(seconds, slots=slots) == by_the_second(seconds, slots)[0]


@given(SECONDS, st.integers(1, 4), st.integers(1, 100))
def test_trials_within_a_time_are_those_that_start_before_it_is_over(
    seconds: list[int], slots: int, budget: int
) -> None:
    starts = by_the_second([*seconds, *[1000] * 4], slots)[1]
    found = started_within(
        lambda n: Cost(1, seconds[n] if n < len(seconds) else 1000), slots=slots, seconds=budget
    )
    expected = sum(start < budget for start in starts)
    assert found == expected


@given(SECONDS, st.integers(1, 3), st.integers(1, 100))
def test_trials_before_a_sum_of_gpu_time_is_used(seconds: list[int], slots: int, budget: int) -> None:
    every = [*seconds, *[1000] * 4]
    starts = by_the_second(every, slots)[1]
    expected = 0
    for start in starts:  # what all that started earlier have used by then
        used = sum(min(s + every[k], start) - s for k, s in enumerate(starts) if s < start)
        if used >= budget:
            break
        expected += 1
    assert started_before(lambda n: Cost(1, every[n]), slots=slots, seconds=budget) == expected


def test_of_a_budget_for_many_trials_a_part_is_simulated() -> None:
    """Two at once of half a second each: 4 a second start within a time, and 2 use up a second."""
    asked: set[int] = set()

    def cost(number: int) -> Cost:
        asked.add(number)
        return Cost(1, 0.5)

    for count, a_second in ((started_within, 4), (started_before, 2)):
        assert count(cost, slots=2, seconds=36_000.0) == pytest.approx(36_000 * a_second, rel=1e-3)
    assert max(asked) < SIMULATED
    assert started_within(lambda _: Cost(1, 0.0), slots=2, seconds=1.0) == SIMULATED  # takes no time: no rate


def test_a_number_has_its_median_and_its_5th_and_95th_percentile() -> None:
    number = Number.of(np.arange(101.0), "MB", "probe")
    assert (number.low, number.typical, number.high) == (5.0, 50.0, 95.0)


def test_a_price_by_hand() -> None:
    """Five trials of 4 epochs and 10 s, two at once, a quarter of a GPU each; three dense networks of 6 s."""
    basis = Basis(
        source="probe",
        trials=lambda _: lambda _: Cost(4.0, 10.0),
        overhead=Overhead(dense=(6.0,) * 3, dense_epochs=18.0, opening=3.0, closing=2.0),
        memory_mb=None,
        gpu_memory_mb=None,
        checkpoint_mb=30.0,
        front_mb=Number.exactly(20.0, "MB", "probe"),
    )
    found = price(basis, name="s", slots=2, gpus=0.25, budget=Budget(5, minutes=0.5, gpu_hours=0.005))
    assert found.epochs.typical == 18 + 5 * 4
    assert found.dense_minutes.typical == pytest.approx(12 / 60)  # two, then the third
    assert found.minutes.typical == pytest.approx((3 + 12 + 30 + 2) / 60)
    assert found.gpu_hours is not None
    assert found.gpu_hours.typical == pytest.approx(5 * 10 * 0.25 / 3600)
    assert found.checkpoints_mb.typical == 2 * 2 * 30
    assert found.fit_minutes is not None
    assert found.fit_minutes.typical == 6  # they start in pairs at 0, 10 and 20 s; at 30 s time is over
    assert found.fit_gpu_hours is not None
    assert found.fit_gpu_hours.typical == 8  # 18 s of GPUs are 72 s of trials: reached between 30 and 40 s
    for name in ("minutes", "epochs", "minutes_per_trial"):
        number = getattr(found, name)
        assert number.low == number.typical == number.high
        assert number.source == "probe"
