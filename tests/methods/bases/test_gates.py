"""Gates: the same as weights scaled by hand; masks and ranks against plain loops; the cubic schedule's ends."""

import copy

import numpy as np
import pytest
import torch

from pipeline.methods.bases.gates import Gates, cubic, learned
from pipeline.model.surgery import cut, masked
from pipeline.task.batches import encoder_inputs
from pipeline.trial.curve.allocation import choose, removal_order

CPU = torch.device("cpu")
LEVELS = {"block": 6, "head": 15, "neuron": 12 + 192, "head-only": 12}


def thinned(model, anatomy):
    """A network whose units have gaps in their numbers."""
    masks = anatomy.present
    masks.heads[0, 1] = masks.heads[1] = masks.neurons[0, 3:7] = masks.neurons[2] = False
    return cut(model, anatomy, masks)


@pytest.mark.parametrize("level", LEVELS)
def test_baked_is_what_the_hooks_did(level, architecture, make_model, make_batch):
    model, anatomy = make_model(architecture)
    if architecture != "bert":  # one network is whole; in the others, units have gaps in their numbers
        anatomy = thinned(model, anatomy)
    inputs = encoder_inputs(make_batch(architecture))
    gates = Gates(anatomy, level, device=CPU)
    assert len(gates) == LEVELS[level]
    values = torch.rand(len(gates), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(**inputs).logits
        with gates.on(model, lambda: values):
            gated = model(**inputs).logits
        assert torch.equal(model(**inputs).logits, plain)
        gates.bake(values)
        torch.testing.assert_close(model(**inputs).logits, gated, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(gated, plain)


def test_rows_have_gates_of_their_own(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch(rows=5)
    gates = Gates(anatomy, "neuron", device=CPU)
    values = torch.rand(5, len(gates), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), gates.on(model, lambda: values):
        together = model(**encoder_inputs(batch)).logits
    for row in range(5):
        with torch.no_grad(), gates.on(model, lambda row=row: values[row]):
            alone = model(**encoder_inputs({name: value[row : row + 1] for name, value in batch.items()}))
        torch.testing.assert_close(alone.logits[0], together[row], rtol=1e-4, atol=1e-5)


def test_gates_of_0_are_masks_where_no_block_ends(make_model, make_batch):
    model, anatomy = make_model()
    inputs = encoder_inputs(make_batch())
    masks = anatomy.present
    masks.heads[0, 2] = masks.heads[2, :3] = masks.neurons[1, 10:60] = False
    values = torch.from_numpy(np.concatenate([masks.heads.ravel(), masks.neurons.ravel()])).float()
    gates = Gates(anatomy, "neuron", device=CPU)
    with torch.no_grad():
        with gates.on(model, lambda: values):
            gated = model(**inputs).logits
        with masked(model, anatomy, masks):
            expected = model(**inputs).logits
    torch.testing.assert_close(gated, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("whole", [True, False])
def test_keep_is_the_choice_of_the_allocation(level, whole, make_model):
    model, anatomy = make_model()
    anatomy = anatomy if whole else thinned(model, anatomy)
    gates = Gates(anatomy, level, device=CPU)
    values = torch.rand(len(gates), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    order = removal_order(gates.scores(values), anatomy, score_per_parameter=False, min_attention_blocks=1)
    for compression in (0.0, 0.15, 0.31, 0.6, 1.0):
        masks = choose(order, anatomy, target=compression).masks
        arrays = {
            "heads": masks.heads,
            "attention": masks.heads.any(axis=1),
            "neurons": masks.neurons,
            "ffn": masks.neurons.any(axis=1),
        }
        expected = torch.from_numpy(np.concatenate([arrays[kind].ravel() for kind in gates.kinds]))
        # `keep` counts no output biases of blocks that end: what the chosen units free without them is its target.
        freed = (
            anatomy.costs.encoder
            - anatomy.costs.kept(anatomy.present)
            + int(gates.parameters[~expected].sum())
        )
        assert torch.equal(gates.keep(values, compression=(freed - 1) / gates.encoder), expected)


def test_keep_by_hand(make_model):
    _, anatomy = make_model()
    gates = Gates(anatomy, "head-only", device=CPU)  # a head has 1,048 of 25,632 parameters
    values = torch.tensor([5.0, 1, 9, 2, 8, 3, 7, 4, 6, 12, 11, 10])
    keep = gates.keep(values, compression=3.5 * 1_048 / 25_632)
    assert torch.nonzero(~keep).squeeze(1).tolist() == [1, 3, 5, 7]
    assert gates.keep(values, compression=0.0).all()
    assert torch.nonzero(gates.keep(values, compression=1.0)).squeeze(1).tolist() == [9]


def test_ranks_by_hand(make_model):
    model, anatomy = make_model()
    anatomy = thinned(model, anatomy)  # 7 heads, 124 neurons are left
    gates = Gates(anatomy, "neuron", device=CPU)
    values = -torch.arange(len(gates), dtype=torch.float64)
    ranks = gates.ranks(values)
    heads = ranks[:12][gates.there[:12]]
    neurons = ranks[12:][gates.there[12:]]
    assert heads.tolist() == pytest.approx([i / 7 for i in range(7, 0, -1)])
    assert neurons.tolist() == pytest.approx([i / 124 for i in range(124, 0, -1)])


def test_costs_and_places(make_model):
    model, anatomy = make_model()
    anatomy = thinned(model, anatomy)
    block = Gates(anatomy, "block", device=CPU)
    assert block.parameters.tolist() == [3 * 1_048 + 32, 0, 4 * 1_048 + 32, 60 * 65 + 32, 64 * 65 + 32, 0]
    assert block.layer.tolist() == [0, 1, 2, 0, 1, 2]
    assert block.kind.tolist() == [0, 0, 0, 1, 1, 1]
    head = Gates(anatomy, "head", device=CPU)
    assert head.layer.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0, 1, 2]


def test_learned_parameters_leave_no_trace_in_the_optimizer(make_model):
    model, _ = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.5)
    gates = torch.ones(3, requires_grad=True)
    before = copy.deepcopy(optimizer.state_dict())
    with learned(optimizer, [gates], learning_rate=0.1):
        gates.grad = torch.tensor([1.0, -1.0, 0.0])
        optimizer.step()
        assert gates.tolist() == pytest.approx([0.9, 1.1, 1.0], rel=1e-5)  # Adam's first step, no decay
    assert optimizer.state_dict() == before


def test_the_cubic_schedule():
    assert [cubic(done, start=0.2, end=0.8) for done in (0.0, 0.1, 0.8, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    assert cubic(0.5, start=0.2, end=0.8) == pytest.approx(1 - 0.5**3)
    assert cubic(0.0, start=0.0, end=0.0) == 1.0
    path = [cubic(i / 50, start=0.1, end=0.9) for i in range(51)]
    assert path == sorted(path)
