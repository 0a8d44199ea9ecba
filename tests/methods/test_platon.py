"""PLATON: three windows of averages by hand."""

import pytest
import torch

from pipeline.methods.platon import Platon, PlatonLifted
from pipeline.model.unstructured import matrices
from tests.kit.gated import run_of

FIELDS = {
    "start_fraction": 0.9,
    "end_fraction": 1.0,
    "initial_sparsity": 0.0,
    "interval": 2,
    "beta_sensitivity": 0.5,
    "beta_uncertainty": 0.75,
}


@pytest.mark.parametrize("uncertainty", [True, False])
def test_three_windows_by_hand(make_model, uncertainty: bool):
    """Weights of 1 that do not move, gradients that are given: |w g| is 1, 3 | 4, 8 | 0, 2."""
    model, anatomy = make_model()
    weights = matrices(anatomy)
    method = PlatonLifted(**FIELDS, uncertainty=uncertainty)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of(steps=100, target=0.5)):
        for gradient in (1.0, -3.0, 4.0, 8.0, 0.0, -2.0):
            for weight in weights.values():
                weight.data.fill_(1.0)
                weight.grad = torch.full_like(weight, gradient)
            optimizer.step()
    # I = 2, 6, 1; Ī = 1, 3.5, 2.25; U = 1, 2.5, 1.25; Ū = 0.25, 0.8125, 0.921875
    expected = 2.25 * 0.921875 if uncertainty else 2.25
    found = method.scores_of_weights(weights)
    assert all(torch.allclose(score, torch.tensor(expected)) for score in found.values())
    lifted = method.score(model, anatomy, [])
    assert lifted.heads == pytest.approx(1024 * expected)
    assert lifted.neurons == pytest.approx(64 * expected)


def test_a_window_that_is_not_full_changes_nothing(make_model):
    model, anatomy = make_model()
    weights = matrices(anatomy)
    method = PlatonLifted(**FIELDS, uncertainty=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of(steps=100, target=0.5)):
        for weight in weights.values():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert all((average == 0).all() for average in method._sensitivity.values())
    for name, score in method.scores_of_weights(weights).items():  # for want of anything better
        assert torch.equal(score, weights[name].detach().abs())


def test_single_weights_have_these_scores(make_model):
    model, anatomy = make_model()
    weights = matrices(anatomy)
    method = Platon(**FIELDS, uncertainty=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of(steps=100, target=0.5)):
        for gradient in (1.0, 3.0):
            for weight in weights.values():
                weight.data.fill_(1.0)
                weight.grad = torch.full_like(weight, gradient)
            optimizer.step()
    found = method.score(model, anatomy, [])  # I = 2, Ī = 1, U = 1, Ū = 0.25
    assert all(torch.equal(found[name], torch.full_like(weight, 0.25)) for name, weight in weights.items())
