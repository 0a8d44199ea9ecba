"""Cost-weighted gates: after schuBERT, Khetan and Karnin, ACL 2020, arXiv 2005.06628.

Every removable dimension is multiplied by a learned factor α, and the loss gets an l1 penalty in which each
dimension counts with the parameters that its removal frees. The dimensions of the smallest |α| go.

Ranks attention and ffn blocks ("block"), heads and ffn blocks ("head"), heads and neurons ("neuron"), or heads
alone ("head-only").

Shapes: D units in the numbers of the dense model.

Deviations, each with its reason.
* The paper prunes in pre-training, and pre-trains the result: here both happen in fine-tuning, so that a trial can
  do it. Its numbers are therefore not comparable.
* Of its five kinds of dimension only heads and neurons are gated: the hidden size goes through every residual
  connection, and key and value sizes would leave heads of unequal width.
* The penalty is divided by the encoder's parameters, so that γ means the same for every network.
* After a round the factors are multiplied into the weights, and start anew at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Gated, Moment, Values
from pipeline.methods.bases.gates import Gates
from pipeline.task.batches import Batch


@final
@dataclass
class Schubert(Gated):
    """L = L_task + γ Σ_u β_u |α_u|, β_u = parameters of u / parameters of the encoder."""

    penalty_strength: float  # γ
    gate_learning_rate: float

    def start(self, units: Gates, run: Run, before: Values) -> Values:
        """Return 1: the factors of earlier rounds are in the weights."""
        del run, before
        return {"alpha": torch.ones(len(units))}

    def rates(self) -> Mapping[str, float]:
        """Return one rate for all factors."""
        return {"alpha": self.gate_learning_rate}

    def gates(self, values: Values, moment: Moment, *, training: bool) -> Tensor:
        """Return α itself."""
        del moment, training
        return values["alpha"]

    def penalty(self, batch: Batch) -> Tensor:
        """Return γ Σ_u β_u |α_u|."""
        del batch
        return self.penalty_strength * (self.moment.units.shares @ self._values["alpha"].abs())

    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return |α|: costs are in it already, through the penalty."""
        del units
        return values["alpha"].abs()
