"""Contrasts between representations, by hand."""

import math

import pytest
import torch

from pipeline.task.losses import contrasts


def test_contrasts_by_hand():
    """One row at (1, 0), keys at (1, 0), (0, 1) and (-1, 0); τ = 1/2: shares of e², 1 and e⁻²."""
    features, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    same_row, same_class = [[True, False, False]], [[True, False, True]]
    found = contrasts(features, keys, torch.tensor([same_row, same_class]), temperature=0.5)
    total = math.log(math.exp(2) + 1 + math.exp(-2))
    assert found.tolist() == pytest.approx([total - 2, total - (2 - 2) / 2])


def test_contrasts_gradient_is_the_closed_form():
    """Of one row: (Σ_m share_m k_m - mean over positives of k_p) / τ; a mean over rows divides by B."""
    generator = torch.Generator().manual_seed(1)
    features = torch.nn.functional.normalize(torch.randn(4, 6, generator=generator), dim=-1).requires_grad_()
    keys = torch.nn.functional.normalize(torch.randn(9, 6, generator=generator), dim=-1)
    positives = torch.rand(4, 9, generator=generator) < 0.4
    positives[:, 0] = True
    contrasts(features, keys, positives[None], temperature=0.1).sum().backward()
    shares = (features.detach() @ keys.T / 0.1).softmax(-1)
    means = torch.stack([keys[row].mean(dim=0) for row in positives])
    torch.testing.assert_close(features.grad, (shares @ keys - means) / 0.1 / 4)
