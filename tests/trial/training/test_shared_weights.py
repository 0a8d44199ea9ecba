"""Networks on shared weights: the gradients of masks, by autograd, for every architecture that can be cut."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.surgery import masked
from pipeline.model.unstructured import matrices
from pipeline.study.records import Masks
from pipeline.task.batches import encoder_inputs
from pipeline.trial.training.shared_weights import SharedNetwork, cut_network, zeroed_network

OUTPUTS = 3


def thinned(anatomy, *, seed: int = 0) -> Masks:
    """Half of the units, a whole ffn block and a whole attention block less."""
    drawn = np.random.default_rng(seed)
    masks = anatomy.present
    masks.heads[:] &= drawn.random(masks.heads.shape) < 0.6
    masks.neurons[:] &= drawn.random(masks.neurons.shape) < 0.5
    masks.heads[0, 0] = masks.neurons[-1, 0] = True
    masks.heads[1], masks.neurons[0] = False, False
    return masks


def loss_of(model, batch) -> torch.Tensor:
    logits = model(**encoder_inputs(batch)).logits
    return nn.functional.cross_entropy(logits, batch["labels"])


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """By name; zeros where there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


def shared_step(network: SharedNetwork, batch) -> float:
    with network.sharing() as smaller:
        loss = loss_of(smaller, batch)
        loss.backward()
    return loss.item()


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_gradients_are_those_of_masks(make_model, make_batch, kind: str) -> None:
    model, anatomy = make_model(kind, outputs=OUTPUTS)
    batch, masks = make_batch(kind, outputs=OUTPUTS), thinned(anatomy)
    with masked(model, anatomy, masks):
        expected_loss = loss_of(model, batch)
        expected_loss.backward()
    expected = gradients(model)
    model.zero_grad()
    network = cut_network(model, anatomy, masks)
    assert shared_step(network, batch) == pytest.approx(expected_loss.item(), abs=1e-5)
    for name, found in gradients(model).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_the_networks_follow_the_weights_they_share(make_model, make_batch) -> None:
    model, anatomy = make_model(outputs=OUTPUTS)
    batch, masks = make_batch(outputs=OUTPUTS), thinned(anatomy)
    network = cut_network(model, anatomy, masks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        shared_step(network, batch)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with masked(model, anatomy, masks):
        expected = loss_of(model, batch)
    with network.sharing() as smaller:
        torch.testing.assert_close(loss_of(smaller, batch), expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_two_networks_add_up(make_model, make_batch) -> None:
    model, anatomy = make_model(outputs=OUTPUTS)
    batch, masks = make_batch(outputs=OUTPUTS), thinned(anatomy)
    small, whole = cut_network(model, anatomy, masks), cut_network(model, anatomy, anatomy.present)
    assert not whole.links  # it is the network itself
    alone = []
    for network in (small, whole):
        shared_step(network, batch)
        alone.append(gradients(model))
        model.zero_grad()
    for network in (small, whole):
        shared_step(network, batch)
    for name, found in gradients(model).items():
        torch.testing.assert_close(found, alone[0][name] + alone[1][name], rtol=1e-5, atol=1e-6, msg=name)


def test_single_weights_that_are_gone_get_no_gradient(make_model, make_batch) -> None:
    model, anatomy = make_model(outputs=OUTPUTS)
    batch = make_batch(outputs=OUTPUTS)
    scores = {name: torch.rand(weight.shape) for name, weight in matrices(anatomy).items()}
    zeroed, its = copy.deepcopy((model, anatomy))
    with torch.no_grad():
        for name, weight in matrices(its).items():
            weight.mul_(scores[name] > 0.7)
    loss_of(zeroed, batch).backward()
    shared_step(zeroed_network(model, anatomy, scores, 0.7), batch)
    for name, weight in matrices(anatomy).items():
        expected = matrices(its)[name].grad * (scores[name] > 0.7)
        torch.testing.assert_close(weight.grad, expected, rtol=1e-5, atol=1e-7)
        assert int((weight == 0).sum()) == 0  # the shared weights are all still there
    torch.testing.assert_close(model.classifier.weight.grad, zeroed.classifier.weight.grad)
