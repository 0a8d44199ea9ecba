"""Which trials go on: worked out by hand, and laws on made-up rungs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.study.halving import Halving, Key, within_noise
from pipeline.study.pareto import hypervolume
from pipeline.study.records import FloatArray, Rung
from tests.kit.tracking import SPEC

REFERENCE = (0.5, 0.0)


def rung(*points: tuple[float, float], index: int = 0, rows: int = 400) -> Rung:
    metric, compression = zip(*points, strict=True)
    return Rung(index, 1.0, rows, metric, compression)


def values(columns: Mapping[str, FloatArray]) -> FloatArray:
    """A study of compression."""
    return np.stack([columns["metric"], columns["compression"]], axis=-1)


def keys(curves: Iterable[list[tuple[float, float]]]) -> dict[int, Key]:
    halving = Halving(values, REFERENCE)
    for number, curve in enumerate(curves):
        halving.remember(number, rung(*curve))
    return halving.keys(0)


def seen(*curves: list[tuple[float, float]]) -> dict[int, np.ndarray]:
    return {number: np.array(curve) for number, curve in enumerate(curves)}


def test_keys_by_hand() -> None:
    found = keys([[(0.9, 0.5)], [(0.8, 0.8), (0.8, 0.2)], [(0.7, 0.3)]])
    # the union: 0.4 up to 0.5, then 0.3 up to 0.8 = 0.29; without the first 0.24, without the second 0.2
    assert found[0] == pytest.approx((0.05, 0.2, 0.0))
    assert found[1] == pytest.approx((0.09, 0.24, 0.0))  # its front is one point: no spread
    assert found[2] == pytest.approx((0.0, 0.06, 0.0))


CURVES = st.lists(
    st.lists(st.tuples(st.floats(0.4, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


@given(CURVES)
def test_the_first_key_is_the_contribution(curves: list[list[tuple[float, float]]]) -> None:
    of = seen(*curves)
    for number, key in keys(curves).items():
        others = [curve for other, curve in of.items() if other != number] + [np.empty((0, 2))]
        without, together = (np.concatenate(each) for each in (others, [*others, of[number]]))
        added = hypervolume(together, REFERENCE) - hypervolume(without, REFERENCE)
        assert key[0] == pytest.approx(added, abs=1e-12)


def test_who_adds_nothing_is_stopped_once_enough_were_seen() -> None:
    halving = Halving(values, REFERENCE, rungs=(0.5,), eta=2, least_seen=3)
    assert halving.judge(0, rung((0.9, 0.5))).goes_on
    assert halving.judge(1, rung((0.6, 0.1))).goes_on  # two were seen: nobody is stopped yet
    assert halving.judge(2, rung((0.8, 0.8))).goes_on  # best of three
    verdict = halving.judge(3, rung((0.7, 0.3)))  # adds nothing, and two of four stay
    assert not verdict.goes_on
    assert not verdict.redundant
    assert verdict.reason == "at 50% of its training, 2 of 4 trials were better"
    assert halving.judge(4, rung((0.55, 0.99))).goes_on  # a little where nobody else is: it adds


def test_among_those_that_add_nothing_the_larger_hypervolume_goes_on() -> None:
    halving = Halving(values, REFERENCE, rungs=(0.5,), eta=2, least_seen=1)
    halving.judge(0, rung((0.9, 0.9)))
    halving.judge(1, rung((0.6, 0.2)))
    assert halving.judge(2, rung((0.8, 0.8))).goes_on  # second of three
    assert not halving.judge(3, rung((0.7, 0.7))).goes_on


def test_equal_trials_all_go_on() -> None:
    halving = Halving(values, REFERENCE, rungs=(0.5,), eta=2, least_seen=1)
    assert all(halving.judge(number, rung((0.8, 0.5), (0.7, 0.6))).goes_on for number in range(9))


def test_the_studys_own_objectives_judge() -> None:
    """The trial that saves most milliseconds goes on, although it removes least; the other way round by compression."""
    slow, quick = (
        Rung(0, 1.0, 400, (0.8,), (c,), macs=(m,), latency_ms=(t,), dense_latency_ms=(10.0,))
        for c, m, t in ((0.9, 60.0, 9.0), (0.5, 40.0, 4.0))
    )
    for objective, stays in (("compression", 0), ("macs", 1), ("latency", 1)):
        study = replace(
            SPEC, objective=objective, anchors=replace(SPEC.anchors, constant=0.5, dense_macs=100)
        )
        halving = Halving(study.values, study.reference_point, rungs=(0.5,), eta=2, least_seen=1)
        halving.remember(0, slow)
        halving.remember(1, quick)
        assert [halving.judge(n, one).goes_on for n, one in enumerate((slow, quick))] == [
            stays == 0,
            stays == 1,
        ]
    gains = {
        o: replace(study, objective=o).values(quick.columns())[0, 1]
        for o in ("compression", "macs", "latency")
    }
    assert gains == pytest.approx({"compression": 0.5, "macs": 0.6, "latency": 0.6})


def test_within_noise_of_the_front_is_redundant() -> None:
    # standard error at 0.9 of 400 rows: 0.015; the gap, averaged over compression up to 0.5
    of = seen([(0.9, 0.5)], [(0.89, 0.5)], [(0.87, 0.5)], [(0.9, 0.4)])
    assert [within_noise(of[n], of, REFERENCE, rows=400) for n in range(4)] == [True, True, False, False]
    assert within_noise(of[2], of, REFERENCE, rows=60)
    assert within_noise(np.array([[0.4, 0.3]]), seen([(0.4, 0.3)]), REFERENCE, rows=400), "nobody is useful"


def test_a_redundant_trial_is_stopped_with_that_reason() -> None:
    halving = Halving(values, REFERENCE, rungs=(0.5,), eta=2, least_seen=1)
    for number, metric in enumerate((0.902, 0.901, 0.9)):
        halving.judge(number, rung((metric, 0.5)))
    verdict = halving.judge(3, rung((0.899, 0.5)))
    assert not verdict.goes_on
    assert verdict.redundant
    assert verdict.reason.endswith("it was within noise of the best (400 rows)")


def test_rungs_are_apart_and_are_remembered() -> None:
    one, other = (Halving(values, REFERENCE, rungs=(0.25, 0.5), eta=2, least_seen=3) for _ in range(2))
    shown = [rung((0.9, 0.5)), rung((0.8, 0.8)), rung((0.95, 0.2), index=1), rung((0.7, 0.3))]
    for number, looked in enumerate(shown[:3]):
        one.judge(number, looked)
        other.remember(number, looked)
    assert one.judge(3, shown[3]) == other.judge(3, shown[3])
    assert not one.judge(3, shown[3]).goes_on
    assert one.judge(3, rung((0.7, 0.3), index=1)).goes_on  # one other was there
    assert one.judge(3, rung((0.7, 0.3), index=7)).goes_on  # no rung of this study
