"""The kind of a task where no kind is set, as in the conformance test: one output is a value, several are classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Generator, Tensor

from pipeline.task.batches import Batch
from pipeline.task.kinds.classification import Classification
from pipeline.task.kinds.regression import Regression


@final
@dataclass(frozen=True)
class ByOutputs(Classification):
    """Classification, or regression where there is one output."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the kind that the outputs look like."""
        if outputs.shape[-1] == 1:
            return Regression(self.metric).loss(outputs, batch)
        return super().loss(outputs, batch)

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the loss at drawn labels of the kind that the outputs look like."""
        if outputs.shape[-1] == 1:
            return Regression(self.metric).drawn_loss(outputs, batch, draws)
        return super().drawn_loss(outputs, batch, draws)


BY_OUTPUTS = ByOutputs("accuracy")
