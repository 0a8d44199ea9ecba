"""The laws of the cut on every row of the table, each over all that can go."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pipeline
from pipeline.export.checkpoint import write_checkpoint
from pipeline.methods.bases.gates import Gates
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import encoder_layers, find_architecture, read_anatomy
from pipeline.model.architectures import ARCHITECTURES, row_to_json
from pipeline.model.cut_blocks import Architecture, features_of
from pipeline.model.layer_parts import matrix, unit_sums
from pipeline.model.surgery import cut, masked
from pipeline.model.unstructured import matrices
from pipeline.study.records import BadInput, Masks
from pipeline.study.space import TRIAL_KEYS, load_space
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_batch, tiny_network, tiny_rows
from pipeline.trial.measure import counted_macs
from pipeline.trial.reconstruction import Reconstruction
from tests.kit.abilities import NO_ONNX, NOT_IN_4
from tests.kit.made_up import KIND as MADE_UP
from tests.kit.made_up import made_up

LAYERS, HEADS, NEURONS, SIZE = 3, 4, 64, 8
EVERY = (*sorted(ARCHITECTURES), MADE_UP)
TOKENS = {"vit": 1 + 9, "dinov3_vit": 1 + 2 + 9}  # class, registers, patches
every_row = pytest.mark.parametrize("kind", EVERY)


@pytest.fixture(autouse=True)
def a_family_that_nobody_has() -> Iterator[None]:
    """Of which there is a row, and nothing else: all that holds for others holds for it."""
    with made_up():
        yield


def logits(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model(**encoder_inputs(batch)).logits


def masks_of(*, heads: tuple[int, ...], neurons: tuple[int, ...], gone: tuple[int, ...] = ()) -> Masks:
    """So many heads and neurons of each layer, every other one first; whole layers gone."""
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    for units, counts in ((masks.heads, heads), (masks.neurons, neurons)):
        order = [*range(1, units.shape[1], 2), *range(0, units.shape[1], 2)]
        for layer, count in enumerate(counts):
            units[layer, order[count:]] = False
    masks.layers[list(gone)] = masks.heads[list(gone)] = masks.neurons[list(gone)] = False
    return masks


# Nested, from all to nothing.
STEPS = {
    "dense": masks_of(heads=(4, 4, 4), neurons=(64, 64, 64)),
    "some units": masks_of(heads=(3, 4, 2), neurons=(64, 9, 40)),
    "blocks": masks_of(heads=(3, 0, 1), neurons=(0, 9, 5)),
    "the first layer": masks_of(heads=(0, 0, 1), neurons=(0, 9, 1), gone=(0,)),
    "norms alone": masks_of(heads=(0, 0, 0), neurons=(0, 0, 0)),
    "no layer": masks_of(heads=(0, 0, 0), neurons=(0, 0, 0), gone=(0, 1, 2)),
}


@every_row
def test_masked_is_cut_is_counted_and_comes_back(kind: str, tmp_path) -> None:
    model, anatomy = tiny_network(kind)
    batch, before = tiny_batch(kind), None
    nested, its_anatomy = copy.deepcopy((model, anatomy))
    for name, masks in STEPS.items():
        with masked(model, anatomy, masks):
            expected = logits(model, batch)
        nothing_is_left = name == "no layer" and find_architecture(kind).attention.pre_norm is not None
        assert before is None or torch.allclose(expected, before, atol=1e-4) == nothing_is_left, name
        before = expected
        if masks <= its_anatomy.present:  # cut further and further, and masked where it was cut
            with masked(nested, its_anatomy, masks):
                torch.testing.assert_close(logits(nested, batch), expected, rtol=1e-4, atol=1e-5)
            its_anatomy = cut(nested, its_anatomy, masks)
            smaller, present = nested, its_anatomy
        else:
            smaller, present = copy.deepcopy((model, anatomy))
            present = cut(smaller, present, masks)
        torch.testing.assert_close(logits(smaller, batch), expected, rtol=1e-4, atol=1e-5, msg=name)
        assert present.present.same(masks)
        layers = encoder_layers(smaller, kind)
        assert len(layers) == masks.layers.sum() == smaller.config.num_hidden_layers
        assert sum(p.numel() for p in layers.parameters()) == anatomy.costs.kept(masks), name
        if kind == MADE_UP:  # another package's networks are not exported
            continue
        (tmp_path / name).mkdir()
        write_checkpoint(tmp_path / name, smaller, present, tokenizer_files={})
        loaded = pipeline.load(tmp_path / name)
        assert torch.equal(logits(loaded, batch), logits(smaller, batch)), name
    assert logits(model, batch).equal(logits(copy.deepcopy(model), batch))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("kind", "changes"), [("dinov3_vit", {"use_gated_mlp": False}), ("vit", {"qkv_bias": False})]
)
def test_optional_parts_may_be_absent(kind: str, changes: dict[str, bool]) -> None:
    model, anatomy = tiny_network(kind, **changes)
    masks = STEPS["some units"]
    with masked(model, anatomy, masks):
        expected = logits(model, tiny_batch(kind))
    cut(model, anatomy, masks)
    torch.testing.assert_close(logits(model, tiny_batch(kind)), expected, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in encoder_layers(model, kind).parameters()) == anatomy.costs.kept(masks)


@every_row
def test_a_cut_network_trains_in_full(kind: str) -> None:
    model, anatomy = tiny_network(kind)
    batch = tiny_batch(kind)
    cut(model, anatomy, STEPS["blocks"])
    model.train()
    model(**encoder_inputs(batch), labels=batch["labels"]).loss.backward()
    layers = encoder_layers(model, kind)
    assert [name for name, p in layers.named_parameters() if p.grad is None] == []


@every_row
def test_formula_macs_are_those_counted(kind: str) -> None:
    wide = {"local_attention": 128} if kind == "modernbert" else {}
    wide |= {"sliding_window": 128} if kind == "qwen3" else {}
    model, anatomy = tiny_network(kind, **wide)
    row = {name: value[:1] for name, value in encoder_inputs(tiny_batch(kind)).items()}
    for name in ("dense", "some units", "blocks", "the first layer"):
        smaller, present = copy.deepcopy((model, anatomy))
        present = cut(smaller, present, STEPS[name])
        length = row["input_ids"].shape[1] if kind not in TOKENS else TOKENS[kind]
        assert counted_macs(smaller, present, row) == anatomy.costs.macs(STEPS[name], length), name


@pytest.mark.parametrize(("kind", "full"), [("modernbert", [0]), ("qwen3", [0])])
def test_pairs_outside_a_window_do_not_count(kind: str, full: list[int]) -> None:
    """The pairs that the library's own mask shows; a causal one is made whole."""
    from transformers.masking_utils import create_bidirectional_sliding_window_mask

    _, anatomy = tiny_network(kind)
    model, _ = tiny_network("modernbert", local_attention=8 if kind == "modernbert" else 14)
    tokens = 24
    mask = create_bidirectional_sliding_window_mask(
        config=model.config, inputs_embeds=torch.zeros(1, tokens, 32), attention_mask=None
    )
    assert mask is not None
    pairs = int(mask.sum())
    costs, dense = anatomy.costs, STEPS["dense"]
    every = costs.macs(dense, tokens)
    left_out = (tokens * tokens - pairs) * 2 * SIZE * HEADS * (LAYERS - len(full))
    whole = tiny_network(kind, local_attention=128)[1] if kind == "modernbert" else None
    if whole is not None:
        assert every == whole.costs.macs(dense, tokens) - left_out
    else:
        assert every == tiny_network(kind, use_sliding_window=False)[1].costs.macs(dense, tokens) - left_out


@every_row
def test_gates_are_masks_and_are_baked(kind: str) -> None:
    model, anatomy = tiny_network(kind)
    batch, masks = tiny_batch(kind), STEPS["some units"]
    gates = Gates(anatomy, "neuron", device=torch.device("cpu"))
    values = torch.from_numpy(np.concatenate([masks.heads.ravel(), masks.neurons.ravel()])).float()
    with masked(model, anatomy, masks):
        expected = logits(model, batch)
    with gates.on(model, lambda: values):
        torch.testing.assert_close(logits(model, batch), expected, rtol=1e-5, atol=1e-5)
    gates.bake(values)
    torch.testing.assert_close(logits(model, batch), expected, rtol=1e-5, atol=1e-5)
    half, its_anatomy = tiny_network(kind)
    blocks = Gates(its_anatomy, "block", device=torch.device("cpu"))
    assert int(blocks.parameters.sum()) == anatomy.costs.encoder - sum(anatomy.costs.layer_rest)
    halved = torch.full((len(blocks),), 0.5)
    with blocks.on(half, lambda: halved):
        expected = logits(half, batch)
    blocks.bake(halved)
    torch.testing.assert_close(logits(half, batch), expected, rtol=1e-5, atol=1e-5)


@every_row
def test_units_hold_all_weights_and_each_its_own(kind: str) -> None:
    """By autograd: the output's gradient by a unit's gate is that by its weights, wherever they lie in the maps."""
    model, anatomy = tiny_network(kind)
    for part in anatomy.layers:
        for _, block, units in part.blocks:
            ones = {name: torch.ones_like(linear.weight) for name, linear in block.maps.items()}
            held = unit_sums(block, ones, len(units))
            assert held.sum().item() == sum(linear.weight.numel() for linear in block.maps.values())
    # zeros in a unit's weights, wherever unit_sums sees them, are the unit's mask
    batch, masks = tiny_batch(kind), STEPS["dense"]
    masks = copy.deepcopy(masks)
    masks.heads[1, 2] = masks.neurons[2, 5] = False
    with masked(model, anatomy, masks):
        expected = logits(model, batch)
    with torch.no_grad():
        matrix(anatomy.layers[1].attention_output)[:, 2 * SIZE : 3 * SIZE] = 0
        matrix(anatomy.layers[2].ffn_out)[:, 5] = 0
    torch.testing.assert_close(logits(model, batch), expected, rtol=1e-5, atol=1e-5)
    assert set(matrices(anatomy)) == {f"{p.index}.{n}" for p in anatomy.layers for n in p.maps}


def copy_unit(block, source: int, to: int, units: int) -> None:
    """Make one unit compute what another does."""
    for name, part in block.parts.items():
        if part.side == "in":
            continue
        linear = block.maps[name]
        there, here = (features_of(linear, part, torch.arange(units) == unit) for unit in (source, to))
        matrix(linear)[here] = matrix(linear)[there]
        if linear.bias is not None:
            linear.bias[here] = linear.bias[there]


@every_row
def test_reconstruction_gives_a_twin_the_work_of_the_one_that_went(kind: str) -> None:
    model, anatomy = tiny_network(kind)
    rows, batch = tiny_rows(kind, rows=64), tiny_batch(kind)
    where = find_architecture(kind)
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    with torch.no_grad():
        for layer in (0, 2):
            copy_unit(anatomy.layers[layer].ffn, 4, 9, NEURONS)
            masks.neurons[layer, 9] = False
            if where.head_table is None:
                copy_unit(anatomy.layers[layer].attention, 1, 3, HEADS)
                masks.heads[layer, 3] = False
    expected = logits(model, batch)
    reconstruction = Reconstruction.of(model, anatomy, rows)
    anatomy = cut(model, anatomy, masks)
    off = (logits(model, batch) - expected).abs().max()
    reconstruction.refit(model, anatomy)
    left = (logits(model, batch) - expected).abs().max()
    assert off > 0.02
    assert left < 0.1 * off


def test_rows_survive_as_json() -> None:
    for row in ARCHITECTURES.values():
        assert Architecture.from_json(row_to_json(row)) == row


def snip_levels(kind: str) -> str:
    """The levels of SNIP at which all units of a network get a finite score."""
    model, anatomy = tiny_network(kind)
    space, found = load_space("snip", file=None, pretrained=True), []
    for level in ("block", "head"):
        _, own = space.split(space.defaults() | {"level": level})
        method = METHODS["snip"](**{key: value for key, value in own.items() if key not in TRIAL_KEYS})
        scores = method.score(model, anatomy, [tiny_batch(kind)])
        units = (scores.attention if level == "block" else scores.heads, scores.ffn)
        found += [level] * all(np.isfinite(each).all() for each in units)
    return ", ".join(found)


def is_reconstructed(kind: str) -> bool:
    """Whether fitting brings the end of a cut network's stream nearer to that of the uncut one."""
    model, anatomy = tiny_network(kind)
    rows = tiny_rows(kind, rows=64)
    uncut = Reconstruction.of(model, anatomy, rows)
    anatomy = cut(model, anatomy, STEPS["some units"])

    def off() -> float:
        end = [*uncut.targets][-1]
        return float(
            (Reconstruction.of(model, anatomy, rows).targets[end] - uncut.targets[end]).square().mean()
        )

    before = off()
    uncut.refit(model, anatomy)
    return off() < before


def test_the_page_s_table_is_what_networks_can_do() -> None:
    page = (Path(__file__).parents[2] / "docs/guide/architectures.md").read_text()
    _, *lines = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 11]
    yes = {True: "yes", False: "no"}
    assert lines == [
        f"| `{kind}` | {'group' if row.units == 'num_key_value_heads' else 'head'} "
        f"| {'before' if row.attention.pre_norm else 'after'} | {snip_levels(kind)} | {yes[row.plain_scores]} "
        f"| {yes[is_reconstructed(kind)]} "
        f"| {'no' if row.own_head else 'layers, width' + ', heads' * row.plain_heads} "
        f"| yes | {yes[kind not in NOT_IN_4]} | {yes[kind not in NO_ONNX]} |"
        for kind, row in sorted(ARCHITECTURES.items())
        if kind != MADE_UP
    ]


def test_what_no_row_describes_is_refused() -> None:
    with pytest.raises(BadInput, match=r"conv_kernel_size = 3, which no row describes"):
        tiny_network("deberta-v2", conv_kernel_size=3)
    model, _ = tiny_network("modernbert")
    model.model.layers[1].adapter = nn.Linear(32, 4)
    with pytest.raises(BadInput, match="no adapters"):
        read_anatomy(model)
