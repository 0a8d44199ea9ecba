"""First-order importance: Michel et al. 2019 (arXiv 1905.10650), Molchanov et al. 2017, 2019 (arXiv 1906.10771).

A gate ξ_u = 1 is put on what a unit adds; the size of the loss's derivative by it is, to first order, the
change of the loss if the unit is removed. One forward and backward pass over the calibration rows gives the
scores of all units. With `rounds` above 1 units go step by step, and are scored anew in between.

Ranks attention and ffn blocks ("block"), heads and ffn blocks ("head"), heads and neurons ("neuron"), or heads
alone ("head-only", as Michel et al.).

Shapes: B rows, D units in the numbers of the dense model.

Deviations, each with its reason.
* The absolute value is taken of each row's derivative, through gates [B, D]: the formula of Michel et al.; their
  code takes it of a batch's mean, so that scores depend on the batch size.
* Rows have equal weights, not weights by their tokens; scores are not scaled to [0, 1], which changes no order.
* Between rounds the network is tuned (Molchanov et al., and the first-order pruning in arXiv 2112.07198);
  Michel et al. remove without training. The curve shows that: it is measured without any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot
from pipeline.methods.bases.derivatives import gate_derivatives
from pipeline.methods.bases.gates import Gates, Level
from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Scores
from pipeline.task.batches import Batch

NORM_FLOOR = 1e-30  # a layer without any derivative keeps its zeros


def importance(derivatives: Tensor, *, estimate: str) -> Tensor:
    """Sum |∂L(x)/∂ξ| (Michel 2019), or its square (Molchanov 2019), over rows: [B, D] -> [D]."""
    return derivatives.abs().sum(dim=0) if estimate == "absolute" else derivatives.square().sum(dim=0)


def by_layer(values: Tensor, layer: Tensor, kind: Tensor) -> Tensor:
    """Divide values [D] by the l2 norm of those of the same layer and kind (Molchanov 2017)."""
    group = layer * 2 + kind
    squares = torch.zeros(int(group.max()) + 1, dtype=values.dtype, device=values.device)
    squares.index_add_(0, group, values.square())
    return values / squares.sqrt().clamp_min(NORM_FLOOR)[group]


@final
@dataclass
class FirstOrder(OneShot):
    """I_u = mean over rows x of |∂L(x)/∂ξ_u|, or of its square; normalised by layer or not."""

    level: Level
    estimate: Literal["absolute", "square"]
    normalise: Literal["none", "layer"]

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return scores of one forward and backward pass in eval mode; only the gates get a gradient."""
        gates = Gates(anatomy, self.level, device=next(model.parameters()).device)
        sums, rows = torch.zeros(len(gates), device=gates.layer.device), 0
        for found in gate_derivatives(model, gates, batches, self.kind):
            sums += importance(found, estimate=self.estimate)
            rows += len(found)
        values = sums.double() / rows
        if self.normalise == "layer":
            values = by_layer(values, gates.layer, gates.kind)
        return gates.scores(values)
