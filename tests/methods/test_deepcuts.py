"""DeepCuts: saliency by hand, a sweep against plain autograd and plain activations, noise that leaves a mean."""

import pytest
import torch

from pipeline.methods.deepcuts import DeepCuts, DeepCutsLifted, saliency
from pipeline.model.unstructured import lift, matrices
from pipeline.task.batches import encoder_inputs

WEIGHT = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
GRADIENT = torch.tensor([[0.5, 1.0], [-1.0, 0.25]])


def test_saliency_by_hand():
    activation = torch.tensor([2.0, -10.0])
    assert saliency(WEIGHT, GRADIENT, activation).tolist() == [[1.0, 4.0], [30.0, 10.0]]
    assert saliency(WEIGHT, GRADIENT, activation, shift=10.0).tolist() == [[6.0, 24.0], [0.0, 0.0]]
    assert saliency(WEIGHT, GRADIENT, None).tolist() == [[0.5, 2.0], [3.0, 1.0]]


def plain_sweep(model, anatomy, batch):
    """Gradients by backward, activations from a pass of its own over the real tokens."""
    caught: dict[str, torch.Tensor] = {}
    real = batch["attention_mask"].bool()
    names = {id(weight): name for name, weight in matrices(anatomy).items()}
    handles = [
        module.register_forward_hook(
            lambda module, _, output: caught.__setitem__(names[id(module.weight)], output[real].mean(dim=0))
        )
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and id(module.weight) in names
    ]
    loss = torch.nn.functional.cross_entropy(model(**encoder_inputs(batch)).logits, batch["labels"])
    for handle in handles:
        handle.remove()
    found = dict(
        zip(names.values(), torch.autograd.grad(loss, list(matrices(anatomy).values())), strict=True)
    )
    return found, caught


@pytest.mark.parametrize("form", ["cam", "cam-shifted"])
def test_a_sweep_is_the_sum_over_batches(form, architecture, make_model, make_batch):
    model, anatomy = make_model(architecture)
    batches = [make_batch(architecture, seed=1), make_batch(architecture, seed=2)]
    expected = {name: torch.zeros_like(weight) for name, weight in matrices(anatomy).items()}
    for batch in batches:
        gradients, activations = plain_sweep(model, anatomy, batch)
        for name, weight in matrices(anatomy).items():
            shifted = activations[name] + (10.0 if form == "cam-shifted" else 0.0)
            expected[name] += (weight * gradients[name] * shifted[:, None]).abs().detach()
    found = DeepCutsLifted(form, 0.0, 1).score(model, anatomy, batches)
    single = DeepCuts(form, 0.0, 1, "network").score(model, anatomy, batches)
    for name, values in expected.items():
        torch.testing.assert_close(single[name], values, rtol=1e-3, atol=1e-8)
    within = DeepCuts(form, 0.0, 1, "matrix").score(model, anatomy, batches)
    order = single["1.value"].flatten().argsort()
    ranks = [(i + 1) / 1024 for i in range(1024)]  # but for neighbours that rounding may turn round
    assert within["1.value"].flatten()[order].tolist() == pytest.approx(ranks, abs=2e-3)
    by_hand = lift(expected, anatomy)
    assert found.heads == pytest.approx(by_hand.heads, rel=1e-3)
    assert found.neurons == pytest.approx(by_hand.neurons, rel=1e-3, abs=1e-8)


def test_smooth_saliency_is_that_of_a_mean_gradient(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    gradients, _ = plain_sweep(model, anatomy, batch)
    plain = lift({n: (w * gradients[n]).abs().detach() for n, w in matrices(anatomy).items()}, anatomy)
    barely = DeepCutsLifted("smooth", 1e-7, 3).score(model, anatomy, [batch])
    assert barely.heads == pytest.approx(plain.heads, rel=1e-3)
    loud = DeepCutsLifted("smooth", 0.5, 3).score(model, anatomy, [batch])
    assert abs(loud.heads / plain.heads - 1).max() > 0.01
