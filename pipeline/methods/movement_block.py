"""Movement pruning of units: Sanh, Wolf, Rush, NeurIPS 2020, arXiv 2005.07683; blocks: Lagunas 2021, arXiv 2109.04838.

Every unit has a score S; the forward pass keeps the units of the highest scores, and the straight-through gradient
of S is that of the unit's gate. So units gain that move away from zero in training. What is kept falls on a cubic
schedule to the target.

Ranks heads and ffn blocks ("head"), heads and neurons ("neuron"), heads alone ("head-only"), or attention and ffn
blocks ("block").

Shapes: D units in the numbers of the dense model.

Deviations, each with its reason.
* A score belongs to what can be cut, a head or a neuron, not to a 32 x 32 block. Its gate stands on the columns of
  the output projection; the gradient is the sum of ∂L/∂W W over them, and equally over the value (or first
  feed-forward) rows and their biases, by which a unit's output is scaled, too (Euler's theorem; of the neurons up to
  their activation function).
* `scope = "kind"` keeps the same share of heads and of neurons, as the paper keeps one of each matrix; "network"
  ranks all together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Gated, Moment, Values
from pipeline.methods.bases.gates import Gates, cubic


def straight_through(mask: Tensor, scores: Tensor) -> Tensor:
    """Return the mask in value; ∂/∂S = 1 (straight through)."""
    return mask + (scores - scores.detach())


@final
@dataclass
class MovementBlock(Gated):
    """M = top of S at a compression on the cubic schedule; ∂L/∂S = ∂L/∂M."""

    scope: Literal["kind", "network"]
    score_learning_rate: float
    start_fraction: float  # of the tuning steps before anything goes
    end_fraction: float  # of the tuning steps after which the target stands

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
        scores, units = values["scores"], moment.units
        part = cubic(moment.done, start=self.start_fraction, end=self.end_fraction)
        mask = units.keep(self.unit_scores(values, units), compression=part * moment.target)
        return straight_through(mask.to(scores.dtype), scores)

    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return S, or its rank among those of its kind."""
        return units.ranks(values["scores"].detach()) if self.scope == "kind" else values["scores"]
