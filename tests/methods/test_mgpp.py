"""MGPP: the prior's gradient against autograd of -log p(w) / n, the published spike boundaries, the anneal."""

import math

import pytest
import torch

from pipeline.methods.mgpp import Mgpp, MgppLifted, prior_gradient, spike_probability
from pipeline.model.unstructured import matrices
from tests.kit.gated import run_of, step

PRIORS = [(0.1, 1e-3, 0.05, 100), (1e-2, 1e-6, 0.1, 7), (0.3, 1e-2, 0.2, 1)]


def log_normal(x: torch.Tensor, variance: float) -> torch.Tensor:
    scale = torch.tensor(variance, dtype=torch.float64).sqrt()
    return torch.distributions.Normal(torch.zeros_like(scale), scale).log_prob(x)


@pytest.mark.parametrize(("mixture", "spike", "slab", "rows"), PRIORS)
def test_the_gradient_is_that_of_the_priors_logarithm(mixture, spike, slab, rows):
    weights = torch.linspace(-0.3, 0.3, 41, dtype=torch.float64).requires_grad_()
    slab_part = math.log(mixture) + log_normal(weights, slab)
    spike_part = math.log(1 - mixture) + log_normal(weights, spike)
    loss = -torch.logaddexp(slab_part, spike_part).sum() / rows
    (expected,) = torch.autograd.grad(loss, weights)
    found = prior_gradient(weights.detach(), mixture=mixture, spike=spike, slab=slab, rows=rows)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_weight_far_out_is_slab_without_overflow():
    far = torch.tensor([0.1, 5.0])
    assert spike_probability(far, mixture=0.1, spike=1e-10, slab=0.05).tolist() == [0.0, 0.0]
    found = prior_gradient(far, mixture=0.1, spike=1e-10, slab=0.05, rows=10)
    assert found.tolist() == pytest.approx([0.1 / 0.5, 5.0 / 0.5])


@pytest.mark.parametrize(("mixture", "boundary"), [(0.1, 4.9e-5), (1e-4, 6.2e-5)])
def test_the_spikes_boundary_is_where_both_are_as_likely(mixture, boundary):
    # boundaries worked out by hand for s0 = 1e-10, s1 = 0.05
    inside, outside = torch.tensor([boundary * 0.98], dtype=torch.float64), torch.tensor([boundary * 1.02])
    assert spike_probability(inside, mixture=mixture, spike=1e-10, slab=0.05).item() > 0.5
    assert spike_probability(outside.double(), mixture=mixture, spike=1e-10, slab=0.05).item() < 0.5


@pytest.mark.parametrize("form", [Mgpp, MgppLifted])
def test_the_prior_is_added_to_every_step_until_the_pruning_ends(form, make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = form(
        start_fraction=0.25,
        end_fraction=0.75,
        initial_sparsity=0.0,
        interval=100,
        spike_variance=1.2e-2,
        slab_variance=0.1,
        mixture=0.1,
        mixture_end=0.01,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    weight, seen = matrices(anatomy)["1.value"], []
    optimizer.register_step_post_hook(lambda *_: seen.append(weight.grad.clone()))
    loss = torch.nn.functional.cross_entropy(
        model(**{k: v for k, v in batch.items() if k not in ("labels", "rows")}).logits, batch["labels"]
    )
    (plain,) = torch.autograd.grad(loss, [weight])
    with method.watch(model, anatomy, optimizer, run_of(steps=4, target=0.0)):
        for _ in range(4):
            step(method, model, batch, optimizer)
    # at 0, 1/4, 1/2 of the steps: λ is 0.1, 0.1, and half way to 0.001; at 3/4 there is none
    for found, mixture in zip(seen, (0.1, 0.1, 0.1 * 0.505, None), strict=True):
        prior = 0.0
        if mixture is not None:
            prior = prior_gradient(weight.detach(), mixture=mixture, spike=1e-3, slab=0.1, rows=12)
        torch.testing.assert_close(found, plain + prior, rtol=1e-4, atol=1e-6)
