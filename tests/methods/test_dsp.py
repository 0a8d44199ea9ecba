"""Differentiable subset pruning: sums, limits and gradients of the relaxed top-K; exact K in the network."""

import math

import pytest
import torch

from pipeline.methods.dsp import Dsp, kept_of_each_kind, relaxed_top_k, temperature_at, top_k
from tests.kit.gated import moment_of, step, watched


def dsp(**changes) -> Dsp:
    fields = {
        "level": "head-only",
        "estimator": "gumbel",
        "gate_learning_rate": 0.5,
        "temperature_start": 1e3,
        "temperature_end": 1e-8,
        "cooldown": 0.5,
    }
    return Dsp(**(fields | changes))


def test_two_of_three_by_hand():
    # e^r/t: 2, 1, 1 of 4: p1 = (1/2, 1/4, 1/4); then weighted by (1 - p1): 1, 3/4, 3/4 of 5/2 for t = 1
    found = relaxed_top_k(torch.log(torch.tensor([2.0, 1.0, 1.0])), 2, temperature=1.0)
    assert found.tolist() == pytest.approx([1 / 2 + 2 / 5, 1 / 4 + 3 / 10, 1 / 4 + 3 / 10])


@pytest.mark.parametrize("temperature", [1e3, 1.0, 0.1, 1e-8])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_relaxed_mask_sums_to_k(temperature: float, k: int):
    logits = torch.randn(9, generator=torch.Generator().manual_seed(k))
    assert relaxed_top_k(logits, k, temperature=temperature).sum().item() == pytest.approx(k, abs=1e-9)


def test_it_is_hard_when_cold_and_even_when_hot():
    logits = torch.tensor([0.3, -1.0, 2.0, 0.9])
    assert relaxed_top_k(logits, 2, temperature=1e-8).tolist() == pytest.approx([0, 0, 1, 1], abs=1e-6)
    assert top_k(logits, 2).tolist() == [0, 0, 1, 1]
    assert relaxed_top_k(logits, 2, temperature=1e6).tolist() == pytest.approx([0.5] * 4, abs=1e-3)
    assert top_k(torch.zeros(4), 3).tolist() == [1, 1, 1, 0]


def test_its_gradient_is_that_of_finite_differences():
    logits = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: relaxed_top_k(x, 3, temperature=0.7), [logits])


def plain_top_k(logits: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    """The formula as it is written, for autograd."""
    left, total = logits, torch.zeros_like(logits)
    for _ in range(k):
        taken = torch.softmax(left / temperature, dim=0)
        total = total + taken
        left = left + torch.log((1.0 - taken).clamp_min(1e-20))
    return total


@pytest.mark.parametrize("temperature", [1e3, 0.5, 0.02, 1e-8])
@pytest.mark.parametrize("k", [1, 5, 8])
def test_value_and_gradient_are_those_of_the_formula(temperature: float, k: int):
    generator = torch.Generator().manual_seed(k)
    logits = torch.randn(8, dtype=torch.float64, generator=generator).requires_grad_()
    pull = torch.randn(8, dtype=torch.float64, generator=generator)
    one, other = relaxed_top_k(logits, k, temperature=temperature), plain_top_k(logits, k, temperature)
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad((each * pull).sum(), logits)[0] for each in (one, other)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


def test_temperature_falls_geometrically_and_stays():
    found = [temperature_at(x, start=1e3, end=1e-8, cooldown=0.5) for x in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([1e3, math.sqrt(1e3 * 1e-8), 1e-8, 1e-8])


def test_k_follows_from_the_target(make_model):
    _, anatomy = make_model()  # heads: 12 · 1,048 of 25,632, neurons 192 · 65
    assert kept_of_each_kind(moment_of(anatomy, "neuron").units, 0.0) == [12, 192]
    removed = 0.5 * 25_632 / (12 * 1_048 + 192 * 65)
    expected = [math.floor((1 - removed) * 12), math.floor((1 - removed) * 192)]
    assert kept_of_each_kind(moment_of(anatomy, "neuron").units, 0.5) == expected
    assert kept_of_each_kind(moment_of(anatomy, "head-only").units, 0.99) == [1]


@pytest.mark.parametrize(("level", "estimator"), [("head-only", "gumbel"), ("neuron", "straight-through")])
def test_exactly_k_units_are_left(level, estimator, make_model, make_batch):
    model, anatomy = make_model()
    batch, method = make_batch(), dsp(level=level, estimator=estimator)
    with watched(method, model, anatomy, target=0.3) as optimizer:
        model.train()
        for _ in range(10):
            step(method, model, batch, optimizer)
    kept = kept_of_each_kind(moment_of(anatomy, level).units, 0.3)
    blocks = [part.attention_output.weight.detach().reshape(32, 4, 8) for part in anatomy.layers]
    assert sum(int((block.abs().sum((0, 2)) > 0).sum()) for block in blocks) == kept[0]
    scores = method.score(model, anatomy, [])
    assert sorted(scores.heads.ravel()) == pytest.approx([i / 12 for i in range(1, 13)])
    assert (scores.neurons is not None) == (level == "neuron")


def test_the_straight_through_gradient_is_the_gates(make_model):
    _, anatomy = make_model()
    method = dsp(level="neuron", estimator="straight-through")
    moment = moment_of(anatomy, "neuron")
    weights = method.start(moment.units, moment.run, {})["weights"].requires_grad_()
    gates = method.gates({"weights": weights}, moment, training=True)
    pull = torch.arange(204.0)
    (found,) = torch.autograd.grad((gates * pull).sum(), weights)
    assert torch.equal(found, pull)
    assert set(gates.tolist()) == {0.0, 1.0}
