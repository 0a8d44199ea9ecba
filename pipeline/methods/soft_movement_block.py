"""Soft movement pruning of units: Sanh, Wolf, Rush, NeurIPS 2020, arXiv 2005.07683; blocks: arXiv 2109.04838.

As movement pruning, but a unit stays while sigmoid(S) lies above a threshold that rises from 0, and a penalty on
sigmoid(S) presses all of them down. How much goes follows from penalty and threshold, not from a target.

Ranks attention and ffn blocks ("block"), heads and ffn blocks ("head"), heads and neurons ("neuron"), or heads
alone ("head-only").

Shapes: D units in the numbers of the dense model.

Deviations, each with its reason.
* A score belongs to what can be cut, a head or a neuron, not to a 32 x 32 block.
* The penalty weighs a unit by its parameters and is a share of the encoder, so that its strength means the same for
  every network and level; the published λ are of means over the matrices.
* The best attention unit always stays, as at least 0.5 % of every matrix does in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Gated, Moment, Values
from pipeline.methods.bases.gates import Gates, cubic
from pipeline.task.batches import Batch


def soft_mask(scores: Tensor, *, threshold: float) -> Tensor:
    """Return 1[sigmoid(S) > τ] in value; ∂/∂S = 1."""
    return (torch.sigmoid(scores.detach()) > threshold).to(scores.dtype) + (scores - scores.detach())


@final
@dataclass
class SoftMovementBlock(Gated):
    """L = L_task + λ_t Σ_u β_u sigmoid(S_u), M = 1[sigmoid(S) > τ_t], λ_t / λ = τ_t / τ on the cubic schedule."""

    penalty_strength: float  # λ
    score_learning_rate: float
    start_fraction: float
    end_fraction: float

    def start(self, units: Gates, run: Run, before: Values) -> Values:
        """Return 0 for all; later rounds keep their values."""
        del run
        return before or {"scores": torch.zeros(len(units))}

    def rates(self) -> Mapping[str, float]:
        """Return one rate for all scores."""
        return {"scores": self.score_learning_rate}

    def gates(self, values: Values, moment: Moment, *, training: bool) -> Tensor:
        """Return 0 or 1."""
        del training
        mask = soft_mask(values["scores"], threshold=self._part(moment) * _threshold(moment.run))
        attention = moment.units.of_kind[0]
        if len(attention):  # the best of it stays
            best = attention.index_select(0, values["scores"].detach()[attention].argmax().unsqueeze(0))
            mask = torch.where(torch.arange(len(mask), device=mask.device) == best, mask.clamp_min(1.0), mask)
        return mask

    def penalty(self, batch: Batch) -> Tensor:
        """Return λ_t times the share of the encoder, each unit by sigmoid(S)."""
        del batch
        moment = self.moment
        shares = moment.units.shares @ torch.sigmoid(self._values["scores"])
        return self.penalty_strength * self._part(moment) * shares

    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return sigmoid(S)."""
        del units
        return torch.sigmoid(values["scores"].double())

    def _part(self, moment: Moment) -> float:
        return cubic(moment.done, start=self.start_fraction, end=self.end_fraction)


PUBLISHED_THRESHOLD = 0.1  # for a network that is cut to a target, not at a threshold


def _threshold(run: Run) -> float:
    return PUBLISHED_THRESHOLD if run.threshold is None else run.threshold
