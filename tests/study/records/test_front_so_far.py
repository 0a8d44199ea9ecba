"""Which new networks may stand on a study's front: by hand, and as a front of all of them says."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.study.pareto import front
from pipeline.study.records import Anchors, FrontSoFar
from tests.kit.synthetic import ANCHORS, point

KNOWN = FrontSoFar("compression", ANCHORS, ((0.8, 0.2), (0.7, 0.5)))  # metric, gain; a constant has 0.5


@pytest.mark.parametrize(
    ("metric", "compression", "stands"),
    [
        (0.81, 0.1, True),  # a better metric than both
        (0.79, 0.2, False),
        (0.8, 0.2, True),  # equal points stand together
        (0.75, 0.3, True),
        (0.7, 0.4, False),
        (0.6, 0.9, True),
        (0.5, 0.95, False),  # no better than a constant
    ],
)
def test_by_hand(metric: float, compression: float, stands: bool):
    assert KNOWN.may_hold([point(metric, compression).measurement]) == [stands]


def test_networks_of_one_trial_stand_in_each_other_s_way():
    found = [point(*values).measurement for values in ((0.9, 0.3), (0.85, 0.25), (0.6, 0.9))]
    assert KNOWN.may_hold(found) == [True, False, True]


def test_saved_macs_are_shares_of_the_dense_network_s():
    saved = FrontSoFar("macs", ANCHORS, ((0.8, 0.4),))  # 5,000 of the dense network
    found = [replace(point(0.7, 0.0).measurement, macs=macs) for macs in (3_001, 2_999)]
    assert saved.may_hold(found) == [False, True]


@pytest.mark.parametrize("seed", range(5))
def test_as_a_front_of_all_together_says(seed: int):
    drawn = np.random.default_rng(seed).integers(0, 6, (24, 2)) / 8 + 0.25
    known = tuple((float(metric), float(gain)) for metric, gain in drawn[front(drawn)])
    new = np.random.default_rng(100 + seed).integers(0, 6, (12, 2)) / 8 + 0.25
    together = np.concatenate([new, drawn])
    on_it = {*front(together).tolist()}
    anchors: Anchors = replace(ANCHORS, constant=0.0)
    found = FrontSoFar("compression", anchors, known).may_hold([point(*each).measurement for each in new])
    assert found == [place in on_it for place in range(len(new))]
