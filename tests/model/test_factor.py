"""Cholesky factors, and refits by them, where a network gives nearly the same for every row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.methods.bases.elimination import eliminate
from pipeline.model.factor import factor
from pipeline.trial.least_squares import RIDGE, fit

INPUTS = 512


def collapsed() -> Tensor:
    """Second moments of inputs that are one vector in every row, with a ridge: in exact numbers definite."""
    vector = torch.rand(INPUTS, generator=torch.Generator().manual_seed(0)) + 100.0
    matrix = torch.outer(vector, vector)
    matrix.diagonal().add_(1e-8 * matrix.diagonal().mean())
    return matrix


def test_of_a_definite_matrix_it_is_that_of_torch_bit_for_bit() -> None:
    rows = torch.randn(900, 64, generator=torch.Generator().manual_seed(1))
    matrix = rows.T @ rows
    assert torch.equal(factor(matrix), torch.linalg.cholesky(matrix))


def test_what_rounding_has_made_indefinite_gets_a_factor() -> None:
    matrix = collapsed()
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(matrix)
    found = factor(matrix)
    assert torch.equal(found, found.tril())
    # what was added is on the diagonal, and is about LEAST of it
    change = (found @ found.T).double() - matrix.double()
    mean = float(matrix.diagonal().mean())
    assert float((change - change.diagonal().diag()).abs().max()) < 1e-4 * mean
    assert change.diagonal().mean() == pytest.approx(1e-3 * mean, rel=0.1)


def test_what_is_no_number_has_none() -> None:
    with pytest.raises(torch.linalg.LinAlgError):
        factor(torch.full((3, 3), float("nan")))


def test_units_of_a_collapsed_network_are_ranked_and_its_maps_refitted() -> None:
    weight = torch.randn(8, INPUTS, generator=torch.Generator().manual_seed(2))
    found = eliminate(weight, collapsed(), size=64, ridge=0.0)
    assert sorted(found.order.tolist()) == list(range(INPUTS // 64))
    linear = nn.Linear(INPUTS, 8, bias=False)
    rows = torch.full((700, INPUTS), 100.0)
    outputs = torch.ones(700, 8)
    fit(linear, rows, outputs)
    assert torch.allclose(rows @ linear.weight.T, outputs, atol=20 * RIDGE)
