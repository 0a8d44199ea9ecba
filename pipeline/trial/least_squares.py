"""Ridge regression of a linear map's weights, in place.

Shapes: T rows, n inputs, d outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.model.factor import factor
from pipeline.model.layer_parts import matrix

RIDGE = 1e-3  # of the covariance's mean diagonal (ours; 1e-4 and 1e-2 were tried: docs/log.md)
ITERATIONS = 24  # of conjugate gradients


@torch.no_grad()
def fit(linear: nn.Linear, inputs: Tensor, outputs: Tensor) -> None:
    """Fit a map to give `outputs` [T, d] of `inputs` [T, n]; weights that are zero stay zero.

    The ridge pulls towards the weights as they are; the bias makes the mean right, if there is one.
    """
    weight = matrix(linear)
    centre = inputs.mean(0) if linear.bias is not None else torch.zeros_like(inputs[0])
    centred, missing = inputs - centre, outputs - inputs @ weight.T
    covariance = centred.T @ centred / len(inputs)
    diagonal = covariance.diagonal()
    # inputs that are all zero, as behind weights that were all set to zero, leave the weights as they are
    diagonal.add_(RIDGE * diagonal.mean() + torch.finfo(covariance.dtype).tiny)
    mean = missing.mean(0) if linear.bias is not None else 0.0
    right = (missing - mean).T @ centred / len(inputs)  # [d, n]
    kept = weight != 0
    change = _solve(covariance, right) if bool(kept.all()) else _solve_kept(covariance, right, kept)
    weight.add_(change)
    if linear.bias is not None:
        linear.bias.copy_(outputs.mean(0) - weight @ centre)


def _solve(covariance: Tensor, right: Tensor) -> Tensor:
    """Return X [d, n] of X C = R."""
    return torch.cholesky_solve(right.T, factor(covariance)).T


def _solve_kept(covariance: Tensor, right: Tensor, kept: Tensor) -> Tensor:
    """Return X [d, n], zero outside `kept`, whose product X C is R inside.

    Each row has a support of its own, hence a system of its own: conjugate gradients for all rows at once,
    preconditioned by the diagonal.
    """
    mask, scale = kept.to(right.dtype), covariance.diagonal()
    tiny = torch.finfo(right.dtype).tiny
    found, left = torch.zeros_like(right), right * mask
    direction = left / scale
    size = (left * direction).sum(1, keepdim=True)
    for _ in range(ITERATIONS):
        along = (direction @ covariance) * mask
        step = size / (direction * along).sum(1, keepdim=True).clamp_min(tiny)
        found += step * direction
        left -= step * along
        scaled = left / scale
        before, size = size, (left * scaled).sum(1, keepdim=True)
        direction = scaled + size / before.clamp_min(tiny) * direction
    return found
