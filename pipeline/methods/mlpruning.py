"""MLPruning, its head and row level: Yao, Ma, Shen, Keutzer, Mahoney 2021, arXiv 2105.14636.

Units of the highest scores stay, as in movement pruning, but how many of each matrix is learned, too: a keep
fraction per layer and kind gets a straight-through gradient, and a penalty draws the whole to the target.

Ranks heads and neurons ("neuron"), or heads alone ("head-only").

Shapes: D units in the numbers of the dense model; groups are the heads, then the neurons, of each layer.

Deviations, each with its reason.
* Only the first of three levels: blocks of 16 x 16 need a kernel of their own to be any faster, and rows of the two
  output projections are the hidden size, which every residual connection goes through.
* What remains is counted in parameters of the network at hand; the authors' code has BERT-base's numbers in it.
* Distillation is a choice of its own, for every method, not a part of this one.
* The keep fractions have a learning rate of their own: at 1e-2, the scores' rate, a run of a few thousand steps does
  not get them down from sigmoid(10).
* The score of a unit is its group's keep fraction less its rank from the top of its group: the learned masks are
  those above 0, and targets around it move all groups equally.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Gated, Moment, Values
from pipeline.methods.bases.gates import Gates
from pipeline.task.batches import Batch

LEAST, NEAR = 50.0, 10.0  # strengths of the penalty: the least, and where the target is as good as reached
REACHED = 3e-4  # excess below which it is


def groups_of(units: Gates) -> Tensor:
    """Return the number of each unit's group [D], layer by layer of each kind."""
    return units.kind * units.layers + units.layer


def rank_from_top(scores: Tensor, groups: Tensor, there: Tensor, *, count: int) -> Tensor:
    """Return the share [D] of a group's units that score higher, 0 for its best; units that are gone do not count.

    `count` is the number of groups.
    """
    counted = torch.where(there, scores.detach().double(), -torch.inf)
    order = counted.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]  # group by group, each from its best
    # bincount would read on the host how many there are
    sizes = torch.zeros(count, device=groups.device, dtype=torch.int64).index_add_(
        0, groups, torch.ones_like(groups)
    )
    first = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(counted)
    ranks[order] = (torch.arange(len(order), device=order.device) - first[groups[order]]).double()
    left = torch.zeros(len(sizes), device=ranks.device, dtype=torch.float64).index_add_(
        0, groups, there.double()
    )
    return ranks / left.clamp_min(1.0)[groups]


def excess(remaining: Tensor, *, target: float) -> Tensor:
    """Return R = (remaining - target)² above the target share of parameters, 0 below it."""
    return (remaining - target).clamp_min(0.0).square()


def strength(over: Tensor, *, target: float, final_penalty: float) -> Tensor:
    """Return λ: in proportion to the excess, at least LEAST; NEAR once the target is reached (the authors' code)."""
    scaled = (final_penalty * over / max(1.0 - target, 1e-6) ** 2).clamp_min(LEAST)
    return torch.where(over < REACHED, NEAR, scaled)


@final
@dataclass
class MLPruning(Gated):
    """M = top k_g of S in each group g, k_g = sigmoid(θ_g) learned; L = L_task + λ(R) R."""

    level: Literal["neuron", "head-only"]
    final_penalty: float
    score_learning_rate: float
    share_learning_rate: float
    initial_share: float  # θ at the start

    def start(self, units: Gates, run: Run, before: Values) -> Values:
        """Return scores 0 and shares near 1. Later rounds keep scores; shares are of what is left, and start anew."""
        del run
        shares = torch.full((units.layers * len(units.kinds),), self.initial_share)
        return {"scores": before.get("scores", torch.zeros(len(units))), "theta": shares}

    def rates(self) -> Mapping[str, float]:
        """Return different rates for scores and shares."""
        return {"scores": self.score_learning_rate, "theta": self.share_learning_rate}

    def gates(self, values: Values, moment: Moment, *, training: bool) -> Tensor:
        """Return 0 or 1; ∂L/∂S = ∂L/∂M, ∂L/∂θ_g = Σ_{u in g} ∂L/∂M_u M_u, both straight through (the authors' code)."""
        del training
        scores, theta = values["scores"], values["theta"]
        mask = (self.unit_scores(values, moment.units) > 0).to(scores.dtype)
        shares = theta[groups_of(moment.units)]
        return mask + (scores - scores.detach()) + mask * (shares - shares.detach())

    def penalty(self, batch: Batch) -> Tensor:
        """Return λ(R) R; what remains is Σ_g k_g times the parameters of g, as a part of the encoder."""
        del batch
        moment = self.moment
        target = 1.0 - moment.target
        units = moment.units
        kept = torch.sigmoid(self._values["theta"])[groups_of(units)]
        remaining = 1.0 - units.compression - units.removable + units.shares @ kept
        over = excess(remaining, target=target)
        return strength(over.detach(), target=target, final_penalty=self.final_penalty) * over

    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return k_g - rank from the top: above 0 for what stays."""
        groups = groups_of(units)
        ranks = rank_from_top(values["scores"], groups, units.there, count=units.layers * len(units.kinds))
        return torch.sigmoid(values["theta"].detach().double())[groups] - ranks
