"""Gradual magnitude pruning: Zhu and Gupta 2017, arXiv 1710.01878; Han et al. 2015, arXiv 1506.02626.

The smallest weights are set to zero, more and more of them on a cubic schedule, and stay there. It needs nothing
but the weights, and any method on single weights must beat it.

`magnitude` ranks single weights, as published; `magnitude-lifted` heads and neurons by the sum of their weights'
magnitudes, so that the network can be cut.

Shapes: a score for each weight of the six matrices of a layer.

Deviations, each with its reason.
* Embeddings, the pooler and the classifier stay whole: sparsity is counted in the encoder, for every method.
* Lifted, the threshold is one for the whole network, which a ranking across units needs; the paper has one for each
  matrix, and `scope = "network"` is the choice of PLATON's authors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from pipeline.methods.bases.weighted import Lifted, Weighted, Zeroed
from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices, Scope, lowest, lowest_of_each, matrices, shares
from pipeline.task.batches import Batch


class GradualMagnitude(Weighted):
    """Score |w|; masked weights stay at zero."""

    def scores_of_weights(self, weights: Matrices) -> Matrices:
        """Return |w|."""
        return {name: weight.detach().abs() for name, weight in weights.items()}

    def holds(self) -> bool:
        """Return True: masked weights stay at zero."""
        return True


@final
@dataclass
class Magnitude(GradualMagnitude, Zeroed):
    """Of each matrix the same share goes, or of all together the lowest."""

    scope: Scope

    def keep(self, scores: Matrices, count: int) -> Matrices:
        """Return masks without `count` weights, by the scope."""
        if self.scope == "network":
            return lowest(scores, count)
        return lowest_of_each(
            scores, max(0, count) / max(1, sum(values.numel() for values in scores.values()))
        )

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Return |w|, or its rank within the matrix."""
        del model, batches
        scores = self.scores_of_weights(matrices(anatomy))
        return shares(scores) if self.scope == "matrix" else scores


@final
@dataclass
class MagnitudeLifted(GradualMagnitude, Lifted):
    """Units by the sum of |w|."""
