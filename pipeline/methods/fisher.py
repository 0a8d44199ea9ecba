"""Fisher information of gates: Kwon et al. 2022, arXiv 2204.09656 (a fast post-training pruning framework).

A gate xi_u = 1 is put on what a unit adds. To second order, closing a set of gates changes the loss by half the sum of
their Fisher information over the set; the diagonal alone ranks units, the blocks of a layer's heads and of its neurons
rearrange them: a unit whose derivatives go with those of units that are gone costs more.

Ranks attention and ffn blocks ("block"), heads and ffn blocks ("head"), heads and neurons ("neuron"), or heads alone
("head-only"). Shapes: B rows, D units in the numbers of the dense model.

Deviations, each with its reason.
* Units are ordered for all compressions at once: greedily within a layer, by what each adds. The authors choose a set
  for one budget and swap units in it.
* Their mask tuning is `reconstruct`, for all methods alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot
from pipeline.methods.bases.derivatives import gate_derivatives
from pipeline.methods.bases.elimination import eliminate_by
from pipeline.methods.bases.gates import Gates, Level
from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Scores
from pipeline.task.batches import Batch


@final
@dataclass
class Fisher(OneShot):
    """Mean squared derivative of the loss by a unit's gate; with `rearrange`, products with units that went before."""

    level: Level
    rearrange: bool

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return scores of one forward and backward pass in eval mode; only the gates get a gradient."""
        gates = Gates(anatomy, self.level, device=next(model.parameters()).device)
        derivatives = torch.cat(list(gate_derivatives(model, gates, batches, self.kind))).double()  # [B, D]
        values = derivatives.square().mean(0)
        if self.rearrange:
            for units in _groups(gates):
                own = derivatives[:, units]
                scores = eliminate_by(own.T @ own / len(own)).scores()
                values[units] = torch.from_numpy(scores).to(values)
        return gates.scores(values)


def _groups(gates: Gates) -> list[Tensor]:
    """Return the units that are there of each kind in each layer, if they are several."""
    found = []
    for units in gates.of_kind:
        for layer in sorted(set(gates.layer[units].tolist())):
            own = units[gates.layer[units] == layer]
            if len(own) > 1:
                found.append(own)
    return found
