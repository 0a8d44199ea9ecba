"""The curve's networks against each of them cut and run by itself."""

import copy
import itertools
from dataclasses import replace
from functools import wraps

import numpy as np
import pytest
import torch

from pipeline.model.anatomy import encoder_layers
from pipeline.model.surgery import cut
from pipeline.study.records import Masks, Scores
from pipeline.task.batches import encoder_inputs
from pipeline.trial.curve import choose_in_rounds, first_changed, walk
from pipeline.trial.curve.allocation import Removal, curve_steps, removal_order
from pipeline.trial.measure import Evaluation, measure
from tests.kit.networks import KINDS

LAYERS = 4


@pytest.fixture
def make_steps(make_model):
    def make(model_type: str, level: str, seed: int):
        model, anatomy = make_model(model_type, layers=LAYERS)
        draw = np.random.default_rng(seed).uniform
        scores = {
            "heads": Scores(heads=draw(size=(LAYERS, 4)), ffn=draw(size=LAYERS)),
            "blocks": Scores(attention=draw(size=LAYERS), ffn=draw(size=LAYERS)),
            "neurons": Scores(attention=draw(size=LAYERS), neurons=draw(size=(LAYERS, 64))),
            "layers": Scores(layers=draw(size=LAYERS)),
        }[level]
        order = removal_order(scores, anatomy, score_per_parameter=False, min_attention_blocks=0)
        return model, anatomy, curve_steps(order, anatomy, most=12)

    return make


def logits(model, split) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(**encoder_inputs(batch)).logits for batch in split.in_length_order(8)])


def walked(model, anatomy, steps, split, **how) -> tuple[list[torch.Tensor], list[int]]:
    """Logits of every network, and how many layers computed them."""
    calls: list[int] = []
    counted = {type(layer) for layer in encoder_layers(model, anatomy.architecture)}
    with pytest.MonkeyPatch.context() as patch:
        for kind in counted:  # a copy has no hooks
            patch.setattr(kind, "forward", _counting(kind.forward, calls))
        return _walked(model, anatomy, steps, split, calls, **how)


def _counting(forward, calls: list[int]):
    @wraps(forward)
    def run(*args, **kwargs):
        calls.append(1)
        return forward(*args, **kwargs)

    return run


def _walked(model, anatomy, steps, split, calls, **how) -> tuple[list[torch.Tensor], list[int]]:
    found, work = [], []

    def examine(network, parts):
        found.append(logits(network, split))
        evaluation = Evaluation(0.0, {"metric": 0.0}, np.zeros(1))
        return evaluation, measure(network, parts, evaluation, length=9)

    before = copy.deepcopy(model.state_dict())
    for step, _, measured in walk(model, anatomy, steps, examine, **how):
        assert measured.compression == pytest.approx(step.compression)
        work.append(len(calls))
        calls.clear()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return found, work


EVERY_LEVEL = [("bert", level) for level in ("heads", "blocks", "neurons", "layers")]
OTHERS = [(kind, level) for kind in KINDS if kind != "bert" for level in ("heads", "layers")]


@pytest.mark.parametrize(("architecture", "level"), EVERY_LEVEL + OTHERS)
def test_every_network_gives_the_logits_of_its_own_run(architecture, make_steps, make_split, level: str):
    split = make_split(architecture, rows=20)
    for seed in range(2 if architecture == "bert" else 1):
        model, anatomy, steps = make_steps(architecture, level, seed)
        alone = []
        for step in steps:
            network, parts = copy.deepcopy((model, anatomy))
            cut(network, parts, step.masks)
            alone.append(logits(network, split))
        found, _ = walked(model, anatomy, steps, split)
        assert len(found) == len(steps)
        for one, other in zip(found, alone, strict=True):
            assert torch.equal(one, other)


def test_what_did_not_change_is_not_computed(make_steps, make_split):
    model, anatomy, steps = make_steps("bert", "blocks", 3)
    batches = 3
    _, work = walked(model, anatomy, steps, make_split(rows=20))
    expected = [LAYERS]
    for before, after in itertools.pairwise(steps):  # the rows of masks that differ, by hand
        for same in range(LAYERS):
            kept = [(s.masks.heads[same].any(), s.masks.neurons[same].any()) for s in (before, after)]
            if kept[0] != kept[1]:
                break
        expected.append(LAYERS - same)
    assert work == [batches * layers for layers in expected]
    assert sum(work) < 0.8 * batches * LAYERS * len(steps)


@pytest.mark.parametrize("memory_bytes", [0, 20_000, 60_000])
def test_less_memory_costs_time_and_changes_nothing(make_steps, make_split, memory_bytes: int):
    model, anatomy, steps = make_steps("bert", "heads", 1)
    split = make_split(rows=20)
    free, least = walked(*copy.deepcopy((model, anatomy)), steps, split)
    found, work = walked(model, anatomy, steps, split, memory_bytes=memory_bytes)
    assert all(torch.equal(one, other) for one, other in zip(found, free, strict=True))
    assert sum(work) >= sum(least)
    if not memory_bytes:
        assert work == [3 * LAYERS] * len(steps)


def test_a_network_that_fails_is_given_back_whole(make_steps):
    model, anatomy, steps = make_steps("bert", "blocks", 0)
    seen = []

    def examine(network, parts):
        seen.append(network)
        if len(seen) == len(steps):
            raise KeyError
        return Evaluation(0.0, {}, np.zeros(1)), None

    with pytest.raises(KeyError):
        list(walk(model, anatomy, steps, examine))
    names = {type(module).__name__ for module in seen[-1].modules()}
    assert "_Known" not in names
    assert not seen[-1]._forward_pre_hooks


def test_the_first_layer_that_changes_by_hand():
    full = Masks.full(4, 2, 3)
    heads, neurons, layers = full.heads.copy(), full.neurons.copy(), full.layers.copy()
    assert first_changed(full, full) == 3  # one is always left to compute
    neurons[2, 1] = False
    assert first_changed(full, replace(full, neurons=neurons)) == 2
    heads[1] = False
    assert first_changed(full, replace(full, neurons=neurons, heads=heads)) == 1
    gone = Masks(full.heads.copy(), full.neurons.copy(), layers)
    gone.heads[3] = gone.neurons[3] = layers[3] = False
    assert first_changed(full, gone) == 2  # of three layers that are left
    nothing = Masks(full.heads & False, full.neurons & False, full.layers & False)
    assert first_changed(full, nothing) == 0


def test_before_the_last_round_an_equal_part_of_the_way(make_model):
    _, anatomy = make_model(layers=LAYERS)
    order = tuple(Removal("ffn", layer, None, float(layer)) for layer in range(LAYERS))
    kept = [
        int(
            choose_in_rounds(order, anatomy, threshold=3.0, target=None, rounds_left=left).masks.neurons.sum()
        )
        for left in (1, 2, 4)
    ]
    assert kept == [0, 2 * 64, 3 * 64]
