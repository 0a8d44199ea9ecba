"""Movement pruning: Sanh, Wolf, Rush, NeurIPS 2020, arXiv 2005.07683.

Every weight has a score S; the forward pass keeps the weights of the highest scores in each matrix, and the gradient
goes straight through that choice: ∂L/∂S = ∂L/∂W' ⊙ W. So weights gain that move away from zero in training, whatever
their size. What is kept falls on a cubic schedule to the target.

Ranks single weights, as published; movement-block has the form that can be cut.

Shapes: as the six matrices of a layer.

Deviations, each with its reason.
* The scores' gradient is not clipped with the weights': clipping would let the two trade steps.
* AdamW's schedule is that of the weights, from its own rate; the paper's scores have the same.
* Distillation, with which the paper's best numbers were made, is a setting of every method, not of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from pipeline.methods.base import Run
from pipeline.methods.bases.scored import Scored
from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices, count_to_remove, lowest_of_each, shares


@final
@dataclass
class Movement(Scored):
    """M = the highest of S in each matrix."""

    def masks(self, scores: Matrices, anatomy: Anatomy, run: Run, part: float) -> Matrices:
        """Return masks that take the same share of each matrix, so that the encoder comes to `part` of the target."""
        if run.target is None:
            raise ValueError("Movement goes to a target sparsity; the run has none.")
        count = max(0, count_to_remove(anatomy, part * run.target))
        return lowest_of_each(scores, count / max(1, sum(values.numel() for values in scores.values())))

    def ranked(self, scores: Matrices) -> Matrices:
        """Return the rank of S within the matrix."""
        return shares(scores)
