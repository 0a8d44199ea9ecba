"""L0 regularisation: Louizos, Welling, Kingma, ICLR 2018, arXiv 1712.01312; of heads: Voita 2019, arXiv 1905.09418.

A gate of each unit is drawn anew in each step from a hard concrete distribution, which puts weight on exactly 0
and exactly 1, and whose probability of not being 0 is differentiable. The penalty is the share of the encoder's
parameters whose gates are expected to be open.

Ranks attention and ffn blocks ("block"), heads and ffn blocks ("head"), heads and neurons ("neuron"), or heads
alone ("head-only", as Voita et al.).

Shapes: D units in the numbers of the dense model.

Deviations, each with its reason.
* Gates are on units, not on single weights, as Voita et al. do: so they can be cut.
* The penalty weighs a unit by its parameters and is a share of the encoder: its strength means the same at any
  depth and level. Voita's sum over 144 heads with 0.0015 is a mean with 0.216.
* The score is sigmoid(log α), not the gate's median: it orders units also where the gates are exactly 0. Both are
  0.5 at the same place, where Voita et al. cut.
* After a round open gates are multiplied into the weights, and start anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Gated, Moment, Values
from pipeline.methods.bases.gates import Gates
from pipeline.task.batches import Batch

LOW, HIGH = -0.1, 1.1  # γ and ζ: what the concrete distribution is stretched to before it is clamped
EDGE = 1e-4  # of the uniform draws: no infinite logits


def hard_concrete(log_alpha: Tensor, uniform: Tensor, *, beta: float) -> Tensor:
    """Return z = clamp(s (ζ - γ) + γ, 0, 1), s = sigmoid((log u - log(1 - u) + log α) / β)."""
    logits = torch.logit(uniform.clamp(EDGE, 1.0 - EDGE))
    return (torch.sigmoid((logits + log_alpha) / beta) * (HIGH - LOW) + LOW).clamp(0.0, 1.0)


def median(log_alpha: Tensor) -> Tensor:
    """Return z of a trained network: clamp(sigmoid(log α) (ζ - γ) + γ, 0, 1)."""
    return (torch.sigmoid(log_alpha) * (HIGH - LOW) + LOW).clamp(0.0, 1.0)


def open_probability(log_alpha: Tensor, *, beta: float) -> Tensor:
    """Return P(z > 0) = sigmoid(log α - β log(-γ / ζ))."""
    return torch.sigmoid(log_alpha - beta * math.log(-LOW / HIGH))


def start_of(initial_open: float, *, beta: float) -> float:
    """Return the log α at which P(z > 0) is `initial_open`."""
    return math.log(initial_open / (1.0 - initial_open)) + beta * math.log(-LOW / HIGH)


@final
@dataclass
class L0(Gated):
    """Hard concrete gates; L = L_task + λ Σ_u parameters_u P(z_u > 0) / parameters of the encoder."""

    penalty_strength: float  # λ
    gate_learning_rate: float
    beta: float
    initial_open: float  # P(z > 0) at the start

    def start(self, units: Gates, run: Run, before: Values) -> Values:
        """Open every gate with the same probability: earlier rounds are in the weights."""
        del run, before
        return {"log_alpha": torch.full((len(units),), start_of(self.initial_open, beta=self.beta))}

    def rates(self) -> Mapping[str, float]:
        """Return one rate for all gates."""
        return {"log_alpha": self.gate_learning_rate}

    def gates(self, values: Values, moment: Moment, *, training: bool) -> Tensor:
        """Return gates drawn at random in training, else their medians."""
        log_alpha = values["log_alpha"]
        if not training:
            return median(log_alpha)
        uniform = torch.rand(len(log_alpha), generator=moment.run.generator)
        return hard_concrete(log_alpha, uniform.to(log_alpha.device, non_blocking=True), beta=self.beta)

    def penalty(self, batch: Batch) -> Tensor:
        """Return λ times the share of the encoder's parameters that is expected to be open."""
        del batch
        units = self.moment.units
        opened = open_probability(self._values["log_alpha"], beta=self.beta)
        return self.penalty_strength * (units.shares @ opened)

    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return sigmoid(log α)."""
        del units
        return torch.sigmoid(values["log_alpha"].double())
