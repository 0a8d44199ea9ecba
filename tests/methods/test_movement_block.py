"""Movement of units, hard and soft: S against -rate Σ ∂L/∂W W, masks by hand, the schedule's ends."""

import pytest
import torch

from pipeline.methods.movement_block import MovementBlock, straight_through
from pipeline.methods.soft_movement_block import SoftMovementBlock, soft_mask
from pipeline.task.batches import encoder_inputs
from tests.kit.gated import moment_of, step, watched

HARD = {"scope": "network", "score_learning_rate": 0.1, "start_fraction": 0.0, "end_fraction": 0.5}
SOFT = {"penalty_strength": 4.0, "score_learning_rate": 0.1, "start_fraction": 0.0, "end_fraction": 0.5}


def movement(model, batch, linear) -> torch.Tensor:
    """Σ ∂L/∂W W by input column."""
    loss = torch.nn.functional.cross_entropy(model(**encoder_inputs(batch)).logits, batch["labels"])
    (gradient,) = torch.autograd.grad(loss, [linear.weight])
    return (gradient * linear.weight).detach().sum(dim=0)


def test_a_straight_through_mask():
    scores = torch.tensor([0.5, -2.0], requires_grad=True)
    mask = straight_through(torch.tensor([1.0, 0.0]), scores)
    assert mask.tolist() == [1.0, 0.0]
    (gradient,) = torch.autograd.grad(mask @ torch.tensor([3.0, 5.0]), scores)
    assert gradient.tolist() == [3.0, 5.0]


@pytest.mark.parametrize("form", ["hard", "soft"])
def test_scores_move_against_gradient_times_weight(form, make_model, make_batch):
    """The first step, where all units are there: S = -rate Σ ∂L/∂W W, of heads and of neurons."""
    model, anatomy = make_model()
    batch = make_batch()
    part = anatomy.layers[2]
    heads = movement(model, batch, part.attention_output).reshape(4, 8).sum(dim=1)
    neurons = movement(model, batch, part.ffn_out)
    method = MovementBlock("neuron", **HARD) if form == "hard" else SoftMovementBlock("neuron", **SOFT)
    run = {"target": 0.5} if form == "hard" else {"target": None, "threshold": 0.1}
    with watched(method, model, anatomy, **run) as optimizer:
        step(method, model, batch, optimizer)
        found = method._values["scores"].detach()
    assert found[8:12].tolist() == pytest.approx((-0.1 * heads).tolist(), rel=1e-3)
    assert found[12 + 128 :].tolist() == pytest.approx((-0.1 * neurons).tolist(), rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("scope", ["kind", "network"])
def test_what_is_kept_falls_to_the_target(scope, make_model):
    _, anatomy = make_model()
    method = MovementBlock("neuron", **(HARD | {"scope": scope}))
    scores = torch.randn(204, generator=torch.Generator().manual_seed(0))
    kept = []
    for done in (0.0, 0.25, 0.5, 1.0):
        moment = moment_of(anatomy, "neuron", done=done, target=0.6)
        gates = method.gates({"scores": scores}, moment, training=True)
        gone = 1.0 - gates.detach()
        kept.append(1.0 - (moment.units.parameters @ gone.long()).item() / 25_632)
        if scope == "kind":
            shares = [gates[:12].mean().item(), gates[12:].mean().item()]
            assert shares[0] == pytest.approx(shares[1], abs=1 / 12)
    unit = 1_048 / 25_632
    for found, expected in zip(kept, (1.0, 1 - 0.6 * (1 - 0.5**3), 0.4, 0.4), strict=True):
        assert expected - unit <= found <= expected


def test_a_soft_mask_by_hand():
    scores = torch.tensor([0.0, -2.0, -2.3, 4.0], requires_grad=True)  # sigmoid(-2.197) = 0.1
    mask = soft_mask(scores, threshold=0.1)
    assert mask.tolist() == [1.0, 1.0, 0.0, 1.0]
    (gradient,) = torch.autograd.grad(mask.sum(), scores)
    assert gradient.tolist() == [1.0] * 4


def test_the_soft_penalty_rises_with_its_threshold(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = SoftMovementBlock("head-only", **SOFT)
    with watched(method, model, anatomy, target=None, threshold=0.1) as optimizer:
        assert method.penalty(batch).item() == 0.0
        for _ in range(5):  # half of ten: the schedule's end
            optimizer.step()
        penalty = method.penalty(batch)
    assert penalty.item() == pytest.approx(4.0 * 0.5 * 12 * 1_048 / 25_632, rel=1e-5)


def test_the_best_head_stays_under_any_soft_threshold(make_model):
    _, anatomy = make_model()
    method = SoftMovementBlock("neuron", **SOFT)
    moment = moment_of(anatomy, "neuron", target=None, threshold=0.1)
    scores = torch.full((204,), -9.0)
    scores[5] = -8.0
    gates = method.gates({"scores": scores}, moment, training=False)
    assert torch.nonzero(gates).squeeze(1).tolist() == [5]


def test_baked_masks_stay_in_the_next_round(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = MovementBlock("head", **HARD)
    with watched(method, model, anatomy, steps=4) as optimizer:
        for _ in range(2):
            step(method, model, batch, optimizer)
    learned = method.state()["scores"]
    with watched(method, model, anatomy, steps=4):
        assert torch.equal(method._values["scores"].detach(), learned)
        assert method.moment.done == 0.5
