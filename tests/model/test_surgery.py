"""The cut network equals the masked one, on every architecture, down to nothing."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.model.anatomy import encoder_layers
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.surgery import cut, masked
from pipeline.study.records import Masks
from pipeline.task.batches import encoder_inputs

LAYERS, HEADS, NEURONS = 3, 4, 64
EVERY = sorted(ARCHITECTURES)


def logits(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model(**encoder_inputs(batch)).logits


def bare(layers: bool) -> Masks:
    """Every block gone; every layer gone, too, or only its LayerNorms left."""
    return Masks(np.zeros((LAYERS, HEADS), bool), np.zeros((LAYERS, NEURONS), bool), np.full(LAYERS, layers))


@st.composite
def random_masks(draw) -> Masks:
    """Each block whole, partly there or gone; each layer there or gone."""
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for layer in range(LAYERS):
        for units in (masks.heads[layer], masks.neurons[layer]):
            share = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
            units &= generator.random(len(units)) < share
        if draw(st.integers(0, 3)) == 0:
            masks.layers[layer] = masks.heads[layer] = masks.neurons[layer] = False
    return masks


@pytest.fixture(scope="module")
def dense(make_model, make_batch):
    return {kind: (*make_model(kind, layers=LAYERS), make_batch(kind)) for kind in EVERY}


@given(kind=st.sampled_from(EVERY), masks=random_masks())
def test_cut_equals_masked(dense, kind, masks):
    model, anatomy, batch = dense[kind]
    with masked(model, anatomy, masks):
        expected = logits(model, batch)
    smaller, its_anatomy = copy.deepcopy((model, anatomy))
    its_anatomy = cut(smaller, its_anatomy, masks)
    torch.testing.assert_close(logits(smaller, batch), expected, rtol=1e-5, atol=1e-5)
    assert its_anatomy.present.same(masks)
    kept = sum(p.numel() for p in encoder_layers(smaller, kind).parameters())
    assert kept == anatomy.costs.kept(masks) == its_anatomy.costs.kept(its_anatomy.present)
    assert smaller.config.num_hidden_layers == masks.layers.sum()


@given(kind=st.sampled_from(EVERY), first=random_masks(), second=random_masks())
def test_cutting_twice_is_cutting_once(dense, kind, first, second):
    model, anatomy, batch = dense[kind]
    both = first & second
    once, once_anatomy = copy.deepcopy((model, anatomy))
    cut(once, once_anatomy, both)
    twice, twice_anatomy = copy.deepcopy((model, anatomy))
    twice_anatomy = cut(twice, twice_anatomy, first)
    with masked(twice, twice_anatomy, both):  # a cut network can be masked, too
        held = logits(twice, batch)
    cut(twice, twice_anatomy, both)
    torch.testing.assert_close(logits(twice, batch), logits(once, batch), rtol=0, atol=0)
    torch.testing.assert_close(held, logits(once, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [True, False])
def test_extremes_run_and_agree(architecture, layers, make_model, make_batch):
    model, anatomy = make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    with masked(model, anatomy, bare(layers)):
        expected = logits(model, batch)
    anatomy = cut(model, anatomy, bare(layers))
    torch.testing.assert_close(logits(model, batch), expected, rtol=1e-5, atol=1e-5)
    assert all(parts.query is None and parts.ffn_out is None for parts in anatomy.layers)
    assert len(encoder_layers(model, architecture)) == len(anatomy.layers) == (LAYERS if layers else 0)


def test_bare_layers_are_two_layer_norms_in_a_row(architecture, make_model, make_batch):
    """A second formula for the extreme: no branch, no bias, LN(LN(x)) in every layer."""
    model, anatomy = make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    layers = encoder_layers(model, architecture)
    norms = [m for layer in layers for m in layer.modules() if isinstance(m, nn.LayerNorm)]
    seen: list[torch.Tensor] = []
    hooks = [
        layers[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0])),
        layers[-1].register_forward_hook(lambda _m, _args, output: seen.append(output)),
    ]
    with masked(model, anatomy, bare(layers=True)):
        logits(model, batch)
    for hook in hooks:
        hook.remove()
    x, y = seen
    with torch.no_grad():
        for norm in norms:
            x = norm(x)
    torch.testing.assert_close(y, x)


def test_a_removed_head_is_a_head_with_zero_output_columns(architecture, make_model, make_batch):
    """A second formula for masks: zeros in the weights themselves."""
    model, anatomy = make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[0, 2] = masks.neurons[1, 7] = False
    with masked(model, anatomy, masks):
        held = logits(model, batch)
    with torch.no_grad():
        anatomy.layers[0].attention_output.weight[:, 2 * 8 : 3 * 8] = 0
        anatomy.layers[1].ffn_out.weight[:, 7] = 0
    torch.testing.assert_close(held, logits(model, batch), rtol=1e-5, atol=1e-5)


def test_keeping_everything_is_the_identity(architecture, make_model, make_batch):
    model, anatomy = make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    full, before = Masks.full(LAYERS, HEADS, NEURONS), logits(model, batch)
    tensors = dict(model.named_parameters())
    with masked(model, anatomy, full):
        assert torch.equal(logits(model, batch), before)
    after = cut(model, anatomy, full)
    assert torch.equal(logits(model, batch), before)
    assert all(dict(model.named_parameters())[name] is tensor for name, tensor in tensors.items())
    assert after.present.same(full)


def test_hooks_are_gone_afterwards_also_after_an_error(architecture, make_model, make_batch):
    model, anatomy = make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    before = logits(model, batch)
    masks = bare(layers=True)
    masks.heads[0, 0] = True

    def break_off() -> None:
        with masked(model, anatomy, masks):
            assert not torch.allclose(logits(model, batch), before, atol=1e-3)
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        break_off()
    assert torch.equal(logits(model, batch), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_parameter_names_survive_a_cut(architecture, make_model):
    model, anatomy = make_model(architecture, layers=LAYERS)
    before = set(model.state_dict())
    masks = bare(layers=True)
    masks.heads[0, 1] = masks.neurons[1, 5] = True
    cut(model, anatomy, masks)
    assert set(model.state_dict()) < before
    norms = {name for name in before if "layer." in name.lower() and "norm" in name.lower()}
    assert norms <= set(model.state_dict())


def test_head_counts_are_kept_true(make_model):
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[1, [0, 3]] = False
    bert, anatomy = make_model("bert", layers=LAYERS)
    cut(bert, anatomy, masks)
    attention = bert.bert.encoder.layer[1].attention.self
    assert (attention.num_attention_heads, attention.all_head_size) == (2, 16)
    distilbert, anatomy = make_model("distilbert", layers=LAYERS)
    cut(distilbert, anatomy, masks)
    attention = distilbert.distilbert.transformer.layer[1].attention
    assert (attention.n_heads, attention.dim) == (2, 16)


def test_a_cut_keeps_the_right_rows_and_columns(make_model):
    model, anatomy = make_model("bert", layers=LAYERS)
    query = anatomy.layers[1].query
    weight, bias = query.weight.clone(), query.bias.clone()
    out, out_bias = anatomy.layers[1].attention_output.weight.clone(), anatomy.layers[1].attention_output.bias
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[1, [0, 2]] = False
    parts = cut(model, anatomy, masks).layers[1]
    kept = [*range(8, 16), *range(24, 32)]  # heads 1 and 3 of 8 features
    assert parts.heads.tolist() == [1, 3]
    assert torch.equal(parts.query.weight, weight[kept])
    assert torch.equal(parts.query.bias, bias[kept])
    assert torch.equal(parts.attention_output.weight, out[:, kept])
    assert torch.equal(parts.attention_output.bias, out_bias)
    assert parts.query.weight.is_contiguous()
    assert parts.attention_output.weight.is_contiguous()


def test_a_cut_network_trains_in_full(architecture, make_model, make_batch):
    """Every parameter that is left gets a gradient; none needs the ones that went."""
    model, anatomy = make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[0] = masks.neurons[1] = False
    masks.heads[1, 0] = masks.neurons[0, :32] = False
    model.train()
    cut(model, anatomy, masks)
    assert all(module.training for module in model.modules())
    model(**encoder_inputs(batch), labels=batch["labels"]).loss.backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert not {name for name in unused if "layer." in name}


def test_masking_lets_gradients_through_to_what_stays(make_model, make_batch):
    model, anatomy = make_model("bert", layers=LAYERS)
    batch = make_batch("bert")
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[1, 2] = False
    with masked(model, anatomy, masks):
        model(**encoder_inputs(batch), labels=batch["labels"]).loss.backward()
    gradient = anatomy.layers[1].attention_output.weight.grad.view(32, 4, 8)
    assert (gradient[:, 2] == 0).all()
    assert (gradient[:, [0, 1, 3]].abs().amax(dim=(0, 2)) > 0).all()


def test_masks_hold_under_autocast(make_model, make_batch):
    model, anatomy = make_model("bert", layers=LAYERS)
    batch = make_batch("bert")
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.heads[1, 2] = masks.neurons[2, ::2] = False
    masks.neurons[0] = False
    dtypes: set[torch.dtype] = set()
    anatomy.layers[1].attention_output.register_forward_hook(lambda _m, args, _o: dtypes.add(args[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16), masked(model, anatomy, masks):
        held = logits(model, batch)
    assert dtypes == {torch.bfloat16}
    cut(model, anatomy, masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(logits(model, batch), held, rtol=0.05, atol=0.05)


def test_masks_of_what_is_gone_are_refused(make_model):
    model, anatomy = make_model("bert", layers=LAYERS)
    anatomy = cut(model, anatomy, bare(layers=True))
    with pytest.raises(ValueError, match="cut before"):
        cut(model, anatomy, Masks.full(LAYERS, HEADS, NEURONS))
    with (
        pytest.raises(ValueError, match="cut before"),
        masked(model, anatomy, Masks.full(LAYERS, HEADS, NEURONS)),
    ):
        pass


def test_a_layer_does_not_go_without_its_units(make_model):
    model, anatomy = make_model("bert", layers=LAYERS)
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks.layers[1] = False
    with pytest.raises(ValueError, match="takes its heads"):
        cut(model, anatomy, masks)
