"""Soft movement pruning: Sanh, Wolf, Rush, NeurIPS 2020, arXiv 2005.07683.

As movement pruning, but a weight stays while sigmoid(S) lies above a threshold that rises from 0, and a penalty on
sigmoid(S) presses all scores down. How much goes, and from which matrix, follows from penalty and threshold.

Ranks single weights, as published; soft-movement-block has the form that can be cut.

Shapes: as the six matrices of a layer.

Deviations, each with its reason.
* The scores' gradient is not clipped with the weights': clipping would let the two trade steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.methods.base import Run
from pipeline.methods.bases.scored import Scored
from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.model.unstructured import Matrices, above_or_highest, lowest_of_each
from pipeline.task.batches import Batch

PUBLISHED_THRESHOLD = 0.1  # for a network that goes to a target, not to a threshold
LEAST = 0.005  # of every matrix stays (the authors' code)


def soft_masks(scores: Matrices, *, threshold: float) -> Matrices:
    """Return 1[sigmoid(S) > τ], but of each matrix at least LEAST."""
    # of S: no exponential of every score at every step
    least = math.log(threshold / (1.0 - threshold)) if threshold > 0.0 else -math.inf
    if any(waits_cost(values.device) for values in scores.values()):
        return above_or_highest(scores, least, LEAST)
    masks = {name: values > least for name, values in scores.items()}
    left = torch.stack([mask.sum() for mask in masks.values()]).tolist()
    few = {
        name: scores[name]
        for name, count in zip(masks, left, strict=True)
        if count < LEAST * masks[name].numel()
    }
    return masks | lowest_of_each(few, 1.0 - LEAST)


class _MeanSigmoid(torch.autograd.Function):
    """The mean over matrices of mean sigmoid(S): a few launches for all matrices, in place of some for each."""

    @staticmethod
    def forward(ctx: Any, *scores: Tensor) -> Tensor:
        values = torch._foreach_sigmoid(scores)
        ctx.save_for_backward(*values)
        sums = torch._foreach_norm(values, 1)  # all are above 0
        return torch.stack(torch._foreach_div(sums, _sizes(values))).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        values = ctx.saved_tensors
        slopes = torch._foreach_addcmul(values, values, values, value=-1.0)  # σ - σ²
        torch._foreach_mul_(slopes, gradient / len(values))
        torch._foreach_div_(slopes, _sizes(values))
        return tuple(slopes)


def _sizes(matrices: Sequence[Tensor]) -> list[float]:
    return [float(each.numel()) for each in matrices]


@final
@dataclass
class SoftMovement(Scored):
    """L = L_task + λ_t · mean over matrices of mean sigmoid(S), with λ_t / λ = τ_t / τ on the cubic schedule."""

    penalty_strength: float  # λ

    def masks(self, scores: Matrices, anatomy: Anatomy, run: Run, part: float) -> Matrices:
        """Return masks at `part` of the run's threshold."""
        del anatomy
        threshold = PUBLISHED_THRESHOLD if run.threshold is None else run.threshold
        return soft_masks(scores, threshold=part * threshold)

    def penalty(self, batch: Batch) -> Tensor:
        """Return λ_t · mean sigmoid(S)."""
        del batch
        mean: Tensor = _MeanSigmoid.apply(*self._scores.values())  # type: ignore[no-untyped-call]
        return self.penalty_strength * self.part * mean

    def ranked(self, scores: Matrices) -> Matrices:
        """Return sigmoid(S)."""
        return {name: torch.sigmoid(values) for name, values in scores.items()}
