"""Greedy elimination: units go one after the other, and those that are left make up for them.

Shapes: d outputs and n inputs of a projection W [d, n]; u units of k inputs each, n = u k; S [n, n] the covariance of
the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.model.factor import factor
from pipeline.study.records import FloatArray

STEPS = 96  # in which a large block is eliminated; its units go in groups
RISE = 1e-7  # of a score: later units of a block score higher, however little their error adds


@dataclass(frozen=True)
class Elimination:
    """The units of a block in the order in which they go [u], and the error after each of them [u]."""

    order: Tensor
    errors: FloatArray

    def scores(self) -> FloatArray:
        """Return each unit's score [u], by its number: what its removal adds to the error, rising along the order.

        Errors of a group are shared evenly. A unit that adds less than one before it scores as that one: it cannot go
        first.
        """
        added = np.diff(self.errors, prepend=0.0).clip(min=0.0)
        rising = np.maximum.accumulate(added)
        rising *= 1.0 + RISE * np.arange(len(rising))
        scores = np.empty(len(rising))
        scores[self.order.cpu().numpy()] = rising
        return scores


@torch.no_grad()
def eliminate(weight: Tensor, covariance: Tensor, *, size: int, ridge: float) -> Elimination:
    """Remove all units of a projection, the cheapest first, and update the others after each group.

    The error of removing the inputs u, made up for by the others, is tr(W_u (G_uu)^-1 W_u^T) with G = (S + ridge I)^-1;
    then W <- W - W_u (G_uu)^-1 G_u: and G <- G - G_:u (G_uu)^-1 G_u: (optimal brain surgeon; ZipLM,
    arXiv 2302.04089, eq. 3 and 4).

    Args:
        weight: [d, n]; rows may be weighted by what an error of that output costs.
        covariance: [n, n]
        size: k
        ridge: is added to the diagonal.
    """
    matrix = covariance.clone()
    matrix.diagonal().add_(ridge)
    inverse = torch.cholesky_inverse(factor(matrix))
    columns = weight.T.clone()  # [n, d]
    units = torch.arange(len(columns) // size, device=weight.device)
    group = -(-len(units) // STEPS)
    order, errors, error = [], [], 0.0
    while len(units):
        costs = _costs(columns, inverse, size)
        chosen = costs.topk(min(group, len(units)), largest=False).indices
        places = (chosen[:, None] * size + torch.arange(size, device=chosen.device)).flatten()
        block = inverse[places]  # [c, n]
        root = factor(block[:, places])
        lost = columns[places]  # [c, d]
        solved = torch.cholesky_solve(lost, root)
        before, error = error, error + max(0.0, float((lost * solved).sum()))
        errors += np.linspace(before, error, len(chosen) + 1)[1:].tolist()
        order.append(units[chosen])
        kept = torch.ones(len(columns), dtype=torch.bool, device=chosen.device)
        kept[places] = False
        rows = block[:, kept]
        columns = columns[kept] - rows.T @ solved
        inverse = inverse[kept][:, kept] - rows.T @ torch.cholesky_solve(rows, root)
        units = units[kept[::size]]
    return Elimination(torch.cat(order), np.array(errors))


@torch.no_grad()
def eliminate_by(products: Tensor) -> Elimination:
    """Remove all units, the cheapest first, where the error of a set is the sum of `products` [u, u] over it.

    That is the loss's second-order change if the gates of the set close (Kwon et al. 2022, arXiv 2204.09656, eq. 9,
    rearranged as in section 3.3).
    """
    added = products.diagonal().clone()
    order, errors, error = [], [], 0.0
    for _ in range(len(added)):
        unit = int(added.argmin())
        error += float(added[unit])
        order.append(unit)
        errors.append(error)
        added += 2 * products[unit]
        added[unit] = torch.inf
    return Elimination(torch.tensor(order), np.array(errors))


def _costs(columns: Tensor, inverse: Tensor, size: int) -> Tensor:
    """Return the error [u] of each unit that goes next, alone."""
    if size == 1:
        return columns.square().sum(1) / inverse.diagonal()
    count = len(columns) // size
    blocks = inverse.reshape(count, size, count, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    own = columns.reshape(count, size, -1)
    costs: Tensor = (own * torch.linalg.solve(blocks, own)).sum((1, 2))
    return costs
