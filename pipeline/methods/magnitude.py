"""Gradual magnitude pruning: Zhu and Gupta 2017, arXiv 1710.01878; Han et al. 2015, arXiv 1506.02626.

The smallest weights are set to zero, more and more of them on a cubic schedule, and stay there. It needs nothing
but the weights, and any method on single weights must beat it.

Ranks heads and neurons by the sum of their weights' magnitudes (lifted).

Shapes: a score for each weight of the six matrices of a layer.

Deviations, each with its reason.
* The threshold is one for the whole network; the paper has one for each matrix. A ranking across units needs the
  former.
* Units are ranked by what is left in them after the gradual pruning, so that the network can be cut; the paper
  leaves zeros, by which no network gets faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from pipeline.methods.weighted import Weighted
from pipeline.weights import Matrices


@final
@dataclass
class MagnitudeLifted(Weighted):
    """Score |w|; masked weights stay at zero."""

    def scores_of_weights(self, weights: Matrices) -> Matrices:
        """|w|."""
        return {name: weight.detach().abs() for name, weight in weights.items()}

    def holds(self) -> bool:
        """Yes."""
        return True
