"""The residual identity prior: the norm of what is left of a unit's output after regression on the units that stay.

With a refit of what is left (`reconstruct`) a small unit is not one that can go, but one that the others can make up
for. Of a branch's heads or neurons u, greedily, the one with the least residual first:

    N_u^2 = mean over real tokens and features of |W_u (c_u - E[c_u | inputs of the units that stay])|^2

The regression is linear, with an intercept. A whole branch f(x) has no unit of its own that stays: it is regressed on
what the projection before it reads, which is what a refit of that projection could add to the stream there.

Shapes: T real tokens, n inputs and d outputs of a projection, m inputs of the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.bases.elimination import eliminate
from pipeline.methods.snip.units import Branch
from pipeline.model.eval_mode import evaluating
from pipeline.model.factor import factor
from pipeline.model.layer_parts import Block, matrix
from pipeline.study.records import FloatArray
from pipeline.task.batches import Batch, encoder_inputs, real_tokens

RIDGE = 1e-3  # of the covariance's mean diagonal, as in the refit


@dataclass(eq=False)
class _Moments:
    """Sums over tokens: of a projection's inputs [n], of their products [n, n], and with those of the one before."""

    total: Tensor = field(default_factory=lambda: torch.zeros(0))
    products: Tensor = field(default_factory=lambda: torch.zeros(0))
    across: Tensor = field(default_factory=lambda: torch.zeros(0))  # [m, n]

    def add(self, inputs: Tensor, before: Tensor | None) -> None:
        """Add inputs [T, n], and those of the projection before [T, m]."""
        if not len(self.total):
            width = inputs.shape[1]
            self.total, self.products = inputs.new_zeros(width), inputs.new_zeros(width, width)
            if before is not None:
                self.across = inputs.new_zeros(before.shape[1], inputs.shape[1])
        self.total += inputs.sum(0)
        self.products.addmm_(inputs.T, inputs)
        if before is not None:
            self.across.addmm_(before.T, inputs)


@torch.no_grad()
def residual_norms(model: nn.Module, branches: Sequence[Branch], batches: Iterable[Batch]) -> FloatArray:
    """Return N_u of every unit of the branches, in their order, from one forward pass over the rows in eval mode.

    Args:
        model: the network at hand.
        branches: of it.
        batches: of rows; labels are not read.
    """
    ordered = sorted(branches, key=lambda branch: (branch.layer, branch.name))  # attention comes before ffn
    moments = [_Moments() for _ in ordered]
    device, tokens = next(model.parameters()).device, 0
    with evaluating(model):
        for batch in batches:
            inputs = {name: value.to(device) for name, value in encoder_inputs(batch).items()}
            read = _read(model, ordered, inputs)
            tokens += len(read[0])
            for place, (each, own) in enumerate(zip(moments, read, strict=True)):
                each.add(own, read[place - 1] if place and not ordered[place].size else None)
    found = {
        id(branch): _norms(branch, moments[place], moments[place - 1] if place else None, tokens)
        for place, branch in enumerate(ordered)
    }
    return np.concatenate([found[id(branch)] for branch in branches])


def _read(model: nn.Module, branches: Sequence[Branch], inputs: Batch) -> list[Tensor]:
    """Return what the output projection of each branch reads of a batch's real tokens [T, n]."""
    caught: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for place, branch in enumerate(branches):

            def keep(_linear: nn.Module, args: tuple[Tensor, ...], place: int = place) -> None:
                caught[place] = args[0][real_tokens(inputs, args[0])].float()

            hooks.callback(branch.block.output.register_forward_pre_hook(keep).remove)
        model(**inputs)
    return [caught[place] for place in range(len(branches))]


def _norms(branch: Branch, own: _Moments, before: _Moments | None, tokens: int) -> FloatArray:
    weight = scaled_weight(branch.block).float()
    covariance = _covariance(own.products, own.total, own.total, tokens)
    if branch.size:
        ridge = _ridge(covariance)
        squares = eliminate(weight, covariance, size=branch.size, ridge=ridge).scores()
        return np.sqrt(squares / len(weight))
    if before is not None:
        across = _covariance(own.across, before.total, own.total, tokens)  # [m, n]
        known = _covariance(before.products, before.total, before.total, tokens)
        known.diagonal().add_(_ridge(known))
        covariance = covariance - across.T @ torch.cholesky_solve(across, factor(known))
    square = float(((weight @ covariance) * weight).sum().clamp_min(0.0))
    return np.array([np.sqrt(square / len(weight))])


def _covariance(products: Tensor, one: Tensor, other: Tensor, tokens: int) -> Tensor:
    return products / tokens - torch.outer(one / tokens, other / tokens)


def _ridge(covariance: Tensor) -> float:
    return max(RIDGE * float(covariance.diagonal().mean()), torch.finfo(covariance.dtype).tiny)


def scaled_weight(block: Block) -> Tensor:
    """Return the matrix of a block's output [d, n], with the factors that follow it."""
    weight = matrix(block.output)
    return weight if block.factors is None else weight * block.factors[:, None]
