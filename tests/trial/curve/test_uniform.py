"""Uniform networks: groups by hand, nested steps, and folders that the library alone loads."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers

from pipeline.export.checkpoint import load_plain, why_not_plain, write_plain
from pipeline.model.anatomy import find_architecture
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.surgery import cut
from pipeline.study.records import Masks, Scores
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_batch, tiny_network
from pipeline.trial.curve import UniformRanking, is_uniform, uniform_groups

LAYERS, HEADS, NEURONS = 3, 4, 64


def drawn(seed: int = 0, *, layers: int = LAYERS) -> Scores:
    draw = np.random.default_rng(seed).uniform
    return Scores(heads=draw(size=(layers, HEADS)), neurons=draw(size=(layers, NEURONS)))


def ranking(kind: str, scores: Scores, *, layers: int = LAYERS, per_parameter: bool = False):
    model, anatomy = tiny_network(kind, layers=layers)
    groups = uniform_groups(scores, model, anatomy, score_per_parameter=per_parameter)
    return model, UniformRanking(groups, anatomy=anatomy)


def test_groups_are_those_worked_out_by_hand() -> None:
    """A BERT's neurons go by rank in each layer; its heads go with layers alone, weighted by parameters."""
    neurons = np.tile(np.arange(64.0), (3, 1)) + np.array([[0.0], [10.0], [100.0]])
    neurons[1] = neurons[1][::-1]
    scores = Scores(heads=np.full((3, 4), 50.0), neurons=neurons)
    _, found = ranking("bert", scores)
    lowest = found.groups[0]
    assert (lowest.kind, lowest.units) == ("neurons", (0, 63, 0))
    assert lowest.score == pytest.approx((0 + 10 + 100) / 3)
    kinds = [group.kind for group in found.groups]
    assert kinds.count("neurons") == 63
    assert "heads" not in kinds
    head, neuron = 3 * (8 * 32 + 8) + 32 * 8, 32 + 1 + 32
    layers = [group for group in found.groups if group.kind == "layers"]
    assert [group.units for group in layers] == [(0,), (1,)]  # the best layer stays
    for group, mean in zip(layers, (31.5, 41.5), strict=True):
        weighted = (4 * head * 50.0 + 64 * neuron * mean) / (4 * head + 64 * neuron)
        assert group.score == pytest.approx(weighted)


@pytest.mark.parametrize("kind", ["bert", "nomic_bert", "qwen3"])
def test_steps_are_nested_and_uniform_and_counted(kind: str) -> None:
    _, found = ranking(kind, drawn(), per_parameter=True)
    fewer = find_architecture(kind).plain_heads
    steps = found.steps(most=len(found.groups) + 5)
    assert steps[0].removed == 0
    assert steps[-1].removed == len(found.groups)
    compressions = found._compressions()
    for before, after in pairwise(steps):
        assert after.masks <= before.masks
        assert after.threshold >= before.threshold
    for step in steps:
        assert is_uniform(step.masks, fewer_heads=fewer)
        assert step.compression == pytest.approx(compressions[step.removed])
    last = steps[-1].masks
    assert (last.layers.sum(), last.neurons.sum(), last.heads.sum()) == (1, 1, 1 if fewer else HEADS)
    middle = found.at(target=0.5)
    assert middle.compression >= 0.5
    assert found.at(threshold=middle.threshold).masks.same(middle.masks)
    assert found._step(middle.removed - 1).compression < 0.5
    half_way = found.choose(threshold=None, target=0.5, rounds_left=2)
    assert half_way.compression == pytest.approx(middle.compression / 2, abs=0.08)
    few = found.steps(most=6, include=middle)
    assert len(few) <= 6
    assert middle.removed in {step.removed for step in few}


def test_scores_of_blocks_and_of_layers_take_whole_layers() -> None:
    for scores in (
        Scores(attention=np.array([3.0, 1.0, 2.0]), ffn=np.array([3.0, 1.0, 2.0])),
        Scores(layers=np.array([3.0, 1.0, 2.0])),
    ):
        _, found = ranking("bert", scores)
        assert [(group.kind, group.units) for group in found.groups] == [("layers", (1,)), ("layers", (2,))]


def test_layers_of_types_that_follow_from_places_go_by_periods() -> None:
    """ModernBERT's every third layer reads all tokens; its first normalises nothing before attention."""
    model, found = ranking("modernbert", drawn(layers=8), layers=8)
    groups = {group.units for group in found.groups if group.kind == "layers"}
    assert groups == {(1, 2, 3), (4, 5, 6)}
    types = list(model.config.layer_types)
    for step in found.steps(most=100):
        kept = np.flatnonzero(step.masks.layers)
        assert [types[layer] for layer in kept] == types[: len(kept)]


def lacks_all(masks: Masks, *, heads: bool) -> bool:
    """Whether a layer has gone, and neurons of those that are left, and heads."""
    fewer = not heads or masks.heads.sum(axis=1).max() < HEADS
    return bool(not masks.layers.all() and masks.neurons.sum(axis=1).max() < NEURONS and fewer)


@pytest.mark.parametrize("kind", sorted(kind for kind, row in ARCHITECTURES.items() if not row.own_head))
def test_a_plain_folder_is_the_same_network_without_our_code(kind: str, tmp_path) -> None:
    layers = 5 if kind == "modernbert" else LAYERS
    model, found = ranking(kind, drawn(layers=layers), layers=layers)
    dense = json.loads(model.config.to_json_string(use_diff=False))
    every = (found._step(count) for count in range(len(found.groups) + 1))
    step = next(step for step in every if lacks_all(step.masks, heads=find_architecture(kind).plain_heads))
    assert why_not_plain(step.masks, dense) is None
    anatomy = cut(model, found.anatomy, step.masks)
    write_plain(tmp_path, model, anatomy, tokenizer_files={})
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    assert (
        not {"auto_map", "cut_row", "cut_layout"} & json.loads((tmp_path / "config.json").read_text()).keys()
    )
    batch = encoder_inputs(tiny_batch(kind))
    images = "pixel_values" in batch
    auto = "AutoModelForImageClassification" if images else "AutoModelForSequenceClassification"
    loaded = getattr(transformers, auto).from_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(**batch).logits
        torch.testing.assert_close(loaded(**batch).logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(load_plain(tmp_path)(**batch).logits, expected, rtol=1e-5, atol=1e-5)


def test_what_the_configuration_cannot_say_is_refused() -> None:
    """A BERT that is given fewer heads is silently another network: `head_dim` is ignored."""
    masks = Masks.full(3, 4, 64)
    assert why_not_plain(masks, {"model_type": "bert"}) is None
    masks.neurons[1, 0] = False
    assert "different numbers" in (why_not_plain(masks, {"model_type": "nomic_bert"}) or "")
    masks = Masks.full(3, 4, 64)
    masks.heads[:, 1] = False
    assert why_not_plain(masks, {"model_type": "nomic_bert"}) is None
    for kind, row in ARCHITECTURES.items():
        reason = why_not_plain(masks, {"model_type": kind, "layer_types": ["full_attention"] * 3})
        assert (reason is None) == row.plain_heads
        assert reason is None or "takes no fewer heads" in reason or row.own_head
    assert "has no classifier" in (why_not_plain(Masks.full(3, 4, 64), {"model_type": "dinov3_vit"}) or "")
    masks = Masks.full(4, 4, 64)
    masks.layers[0] = masks.heads[0] = masks.neurons[0] = False
    types = ["full_attention", *["sliding_attention"] * 2, "full_attention"]
    reason = why_not_plain(masks, {"model_type": "modernbert", "layer_types": types})
    assert "another order" in (reason or "")
