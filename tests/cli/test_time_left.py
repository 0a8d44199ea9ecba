"""The time that a search still takes, against hand-worked schedules and against searches played through."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.cli.time_left import Clock, seconds_left


@pytest.mark.parametrize(
    ("running", "waiting", "slots", "expected_s"),
    [
        ((), 0, 2, 0.0),
        ((0.0,), 0, 1, 100.0),
        ((0.25, 0.5), 0, 2, 75.0),
        ((0.5, 0.5), 1, 2, 150.0),  # the third begins when one of the two has ended
        ((0.5, 0.8), 3, 2, 220.0),  # free at 50 and 20: 20-120, 50-150, 120-220
        ((0.5,), 1, 2, 100.0),  # a slot is free: the second begins now
        ((1.0,), 0, 1, 10.0),  # its epochs are over, its networks are still measured
        ((), 3, 2, 200.0),
    ],
)
def test_a_schedule_by_hand(running: tuple[float, ...], waiting: int, slots: int, expected_s: float) -> None:
    assert seconds_left(trial_s=100.0, running=running, waiting=waiting, slots=slots) == pytest.approx(
        expected_s
    )


def test_the_clock_counts_what_ran() -> None:
    clock = Clock()
    clock.change(1_000.0, running=2, ended=0)
    assert clock.seconds_left(1_010.0, running=(0.1, 0.1), waiting=3) is None  # too little is done
    clock.change(1_060.0, running=1, ended=1)
    # 130 seconds of trials for 1.3 of them; one is at 0.3 and one waits for the free slot
    assert clock.seconds_left(1_070.0, running=(0.3,), waiting=1) == pytest.approx(100.0)
    assert clock.seconds_left(1_070.0, running=(), waiting=0) is None


def test_a_slot_that_a_dense_network_has_for_now_counts_for_what_waits() -> None:
    clock = Clock()
    clock.change(0.0, running=1, ended=0, slots=2)
    clock.change(18.0, running=0, ended=1, slots=2)
    # as in the first search: four trials of 18 s wait, two at once from now on
    assert clock.seconds_left(18.0, running=(), waiting=4) == pytest.approx(36.0)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_searches_played_through_are_told_within_a_half(slots: int) -> None:
    """Trials of 1 to 3 epochs' time; what is said at every end of a trial, against what was left, to the last 10 s."""
    generator = np.random.default_rng(slots)
    errors = []
    for _ in range(20):
        lengths = list(generator.uniform(40.0, 120.0, size=16))
        starts: dict[int, float] = {}
        clock, now, ended, begun, said = Clock(), 0.0, 0, 0, []
        while ended < len(lengths):
            while len(starts) < slots and begun < len(lengths):
                starts[begun] = now
                begun += 1
            clock.change(now, running=len(starts), ended=ended)
            parts = [(now - at_s) / lengths[number] for number, at_s in starts.items()]
            waiting = len(lengths) - ended - len(starts)
            left_s = clock.seconds_left(now, running=parts, waiting=waiting)
            if left_s is not None:
                said.append((now, left_s))
            first = min(starts, key=lambda number: starts[number] + lengths[number])
            now = starts.pop(first) + lengths[first]
            ended += 1
        errors += [
            max(left_s / (now - at_s), (now - at_s) / left_s) for at_s, left_s in said if now > at_s + 10
        ]
    assert np.mean(errors) < 1.5
    assert np.mean(errors) > 1.0
