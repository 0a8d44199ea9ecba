"""Cost-weighted gates: penalty and its gradient by hand, and the gates' place in the weights."""

import pytest
import torch

from pipeline.methods.schubert import Schubert
from tests.kit.gated import step, watched

ENCODER = 25_632


def test_penalty_and_gradient_are_the_freed_parameters(make_model, make_batch):
    model, anatomy = make_model()
    method = Schubert("neuron", penalty_strength=3.0, gate_learning_rate=0.01)
    with watched(method, model, anatomy):
        penalty = method.penalty(make_batch())
        (gradient,) = torch.autograd.grad(penalty, method._values["alpha"])
    assert penalty.item() == pytest.approx(3.0 * (12 * 1_048 + 192 * 65) / ENCODER, rel=1e-5)
    assert gradient[:12].tolist() == pytest.approx([3.0 * 1_048 / ENCODER] * 12)
    assert gradient[12:].tolist() == pytest.approx([3.0 * 65 / ENCODER] * 192)


def test_a_gate_moves_by_task_and_cost(make_model, make_batch):
    """One SGD step: α = 1 - rate (∂L/∂α + γ β); ∂L/∂α is W · ∂L/∂W over the unit's output columns."""
    model, anatomy = make_model()
    batch = make_batch()
    linear = anatomy.layers[1].attention_output
    loss = torch.nn.functional.cross_entropy(
        model(**{k: v for k, v in batch.items() if k not in ("labels", "rows")}).logits, batch["labels"]
    )
    (gradient,) = torch.autograd.grad(loss, [linear.weight])
    by_head = (gradient * linear.weight).detach().sum(0).reshape(4, 8).sum(1)
    method = Schubert("head-only", penalty_strength=3.0, gate_learning_rate=0.1)
    before = linear.weight.detach().clone()
    with watched(method, model, anatomy) as optimizer:
        step(method, model, batch, optimizer)
    expected = 1.0 - 0.1 * (by_head + 3.0 * 1_048 / ENCODER)
    assert method.score(model, anatomy, []).heads[1] == pytest.approx(expected.abs().numpy(), rel=1e-4)
    torch.testing.assert_close(linear.weight.detach(), before * expected.repeat_interleave(8))


def test_a_new_round_starts_at_1(make_model, make_batch):
    model, anatomy = make_model()
    method = Schubert("head", penalty_strength=1.0, gate_learning_rate=0.1)
    with watched(method, model, anatomy) as optimizer:
        step(method, model, make_batch(), optimizer)
    with watched(method, model, anatomy):
        assert (method._values["alpha"] == 1.0).all()
