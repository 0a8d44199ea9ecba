"""Scores computed anew along the curve: the order, stage by stage, done by hand; nested and rising."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.model.surgery import cut
from pipeline.model.unstructured import matrices
from pipeline.study.records import Ask, Params, Scores
from pipeline.trial.curve import WeightRanking
from pipeline.trial.curve.allocation import choose, removal_order
from pipeline.trial.curve.rescoring import rescored_order, rescored_weights
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.kit.trials import SHARED, curve

FISHER: Params = SHARED | {"level": "neuron", "rearrange": True, "target": 0.5, "reconstruct": True}


def by_what_is_left(_model, anatomy):
    """Scores that depend on what else is there: a unit of a layer with few units is worth more."""
    present = anatomy.present
    heads = np.arange(present.heads.size, dtype=float).reshape(present.heads.shape)
    neurons = np.arange(present.neurons.size, dtype=float).reshape(present.neurons.shape)
    heads += 1000.0 / present.heads.sum(axis=1, keepdims=True).clip(1)
    neurons += 1000.0 / present.neurons.sum(axis=1, keepdims=True).clip(1)
    scores = Scores(heads=heads, neurons=neurons)
    return removal_order(scores, anatomy, score_per_parameter=False, min_attention_blocks=1)


def units(order):
    return [(removal.kind, removal.layer, removal.index) for removal in order]


def test_the_order_is_that_of_the_stages_by_hand(make_model) -> None:
    model, anatomy = make_model()
    found = rescored_order(by_what_is_left, model, anatomy, times=2, end=0.75, reconstruction=None)
    first = by_what_is_left(model, anatomy)
    # half of what is there, then half of that again
    gone = choose(first, anatomy, target=0.5)
    there, left = copy.deepcopy((model, anatomy)), []
    smaller = cut(*there, gone.masks)
    second = by_what_is_left(there[0], smaller)
    again = choose(second, smaller, target=0.75)
    last = cut(there[0], smaller, again.masks)
    left = [*first[: gone.removed], *second[: again.removed], *by_what_is_left(there[0], last)]
    assert units(found) == units(left)
    assert units(found) != units(first)
    assert sorted(units(found)) == sorted(units(first))  # the same units, each once
    rising = [removal.score for removal in found]
    assert rising == sorted(rising)
    assert anatomy.present.heads.all()  # the network is not changed


def test_groups_of_neurons_stay_whole_where_the_others_are_ranked_anew(make_model) -> None:
    """As on a GPU: after each cut to a step of the curve a layer has a multiple of 8 neurons."""
    model, anatomy = make_model()

    def together(_model, anatomy):
        scores = np.random.default_rng(anatomy.present.neurons.sum()).random(anatomy.present.neurons.shape)
        heads = np.full(anatomy.present.heads.shape, 0.5)
        return removal_order(
            Scores(heads=heads, neurons=scores),
            anatomy,
            score_per_parameter=False,
            min_attention_blocks=1,
            neurons_together=8,
        )

    seen = []

    def rank(model, anatomy):
        seen.append(anatomy.present.neurons.sum(axis=1))
        return together(model, anatomy)

    rescored_order(rank, model, anatomy, times=3, end=0.9, reconstruction=None, neurons_together=8)
    assert len(seen) == 4
    assert all((counts % 8 == 0).all() for counts in seen)


def test_without_anything_anew_the_order_is_the_first(make_model) -> None:
    model, anatomy = make_model()
    found = rescored_order(by_what_is_left, model, anatomy, times=0, end=0.9, reconstruction=None)
    assert found == by_what_is_left(model, anatomy)


def test_single_weights_are_scored_anew_by_hand(make_model) -> None:
    model, anatomy = make_model()
    number = {  # all different, so that ranks are one order
        name: place + torch.randperm(weight.numel()).view(weight.shape) / weight.numel()
        for place, (name, weight) in enumerate(matrices(anatomy).items())
    }

    def score(_model, its):
        """Upside down, once a weight is gone."""
        gone = any(bool((weight == 0).any()) for weight in matrices(its).values())
        return {name: -values if gone else values for name, values in number.items()}

    found = rescored_weights(score, model, anatomy, times=1, end=0.4, reconstruction=None)
    first = WeightRanking(number, anatomy)
    step = first.at(target=0.4)
    flat, old = (torch.cat([v.flatten() for v in each.values()]) for each in (found, number))
    lost = old <= step.threshold
    assert (flat[lost] <= 1.0).all()
    assert (flat[~lost] > 1.0).all()
    assert torch.equal(flat[lost].argsort(), old[lost].argsort())
    assert torch.equal(flat[~lost].argsort(), (-old[~lost]).argsort())
    both = WeightRanking(found, anatomy)
    assert both.at(target=0.4).removed == step.removed
    assert all(bool((weight != 0).all()) for weight in matrices(anatomy).values())


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize(("method", "params"), [("fisher", FISHER)])
def test_a_trial_scores_anew(make_inputs, tmp_path, method: str, params: Params) -> None:
    records = {
        times: run_trial(
            make_inputs(method),
            TrialJob(Ask(3, params | {"rescore": times}, 11), (tmp_path / str(times),)),
            print,
        )
        for times in (0, 3)
    }
    for record in records.values():
        masks = [point.masks for point in curve(record)]
        assert all(b <= a for a, b in pairwise(masks))
    differ = [not a.masks.same(b.masks) for a, b in zip(curve(records[0]), curve(records[3]), strict=False)]
    assert any(differ)
    assert math.isfinite(records[3].points[-1].threshold)
