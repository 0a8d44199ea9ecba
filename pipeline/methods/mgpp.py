"""Mixture-Gaussian prior pruning: Zhang, Sun, Liang 2024, arXiv 2411.00969.

Every weight has a prior of a narrow spike at zero and a wide slab. Its gradient, added before the optimizer's step,
holds down the weights that are nearly zero already, mostly those just pruned, unless the task pulls harder. The
smallest weights are set to zero on a cubic schedule, and may grow again until the end.

`mgpp` ranks single weights, as published; `mgpp-lifted` heads and neurons by the sum of their weights' magnitudes.

Shapes: a score for each weight of the six matrices of a layer; n rows of train.

Deviations, each with its reason.
* The spike's variance is given times n: the prior's pull w / (n s0) then means the same on small tasks and large
  ones. Published values are given in the TOML as n s0, too.
* The gradient is added after clipping, which would scale prior and task together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.weighted import Lifted, Weighted, Zeroed
from pipeline.model.unstructured import Matrices


def spike_probability(weight: Tensor, *, mixture: float, spike: float, slab: float) -> Tensor:
    """Return g0(w) = sigmoid(-(c2 w² + c1)), the posterior probability of the spike.

    c1 = log λ - log(1 - λ) + (log s0 - log s1) / 2, c2 = (1 / s0 - 1 / s1) / 2, with variances s0 and s1.
    """
    c1 = math.log(mixture) - math.log1p(-mixture) + 0.5 * (math.log(spike) - math.log(slab))
    c2 = 0.5 / spike - 0.5 / slab
    return torch.sigmoid(-(c2 * weight.square() + c1))


def prior_gradient(weight: Tensor, *, mixture: float, spike: float, slab: float, rows: int) -> Tensor:
    """Return ∂/∂w of -log p(w) / n, p = λ N(0, s1) + (1 - λ) N(0, s0): (w / n) (g0 / s0 + (1 - g0) / s1)."""
    g0 = spike_probability(weight, mixture=mixture, spike=spike, slab=slab)
    return weight * (g0 * ((1.0 / spike - 1.0 / slab) / rows) + 1.0 / (slab * rows))


@dataclass
class MixturePrior(Weighted):
    """Score |w|; λ falls linearly to `mixture_end` of itself from the start to the end of the pruning."""

    spike_variance: float  # n s0
    slab_variance: float  # s1
    mixture: float  # λ
    mixture_end: float

    def scores_of_weights(self, weights: Matrices) -> Matrices:
        """Return |w|."""
        return {name: weight.detach().abs() for name, weight in weights.items()}

    def holds(self) -> bool:
        """Return False: only the prior pulls weights towards zero."""
        return False

    @torch.no_grad()
    def before_step(self, weights: Matrices, run: Run, done: float) -> None:
        """Add the prior's gradient until the pruning has ended."""
        if done >= self.end_fraction:
            return
        span = self.end_fraction - self.start_fraction
        part = min(1.0, max(0.0, done - self.start_fraction) / span) if span > 0 else 1.0
        mixture = self.mixture * (1.0 + (self.mixture_end - 1.0) * part)
        for weight in weights.values():
            if weight.grad is not None:
                weight.grad += prior_gradient(
                    weight,
                    mixture=mixture,
                    spike=self.spike_variance / run.train_rows,
                    slab=self.slab_variance,
                    rows=run.train_rows,
                )


@final
@dataclass
class Mgpp(MixturePrior, Zeroed):
    """The weights of the whole network by |w|."""


@final
@dataclass
class MgppLifted(MixturePrior, Lifted):
    """Units by the sum of |w|."""
