"""Regression: a row, of one text or two, has a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Generator, Tensor, nn

from pipeline.study.output_scale import OutputScale
from pipeline.task.batches import Batch, Split
from pipeline.task.carve import deciles
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.classification import require_different
from pipeline.task.labels import values

# Values whose mean or deviation is larger are scaled: of those in [0, 5], as of sentence similarity, networks learn as
# they are, and studies of them stay as they were; of prices they do not (docs/log.md).
FAR = 10.0


@final
@dataclass(frozen=True)
class Regression(Kind):
    """One value per row, one output; the loss is the squared error. Shapes: outputs [B, 1], labels [B].

    A network learns (value - mean) / deviation, where values are far from 0. Labels and predictions are values.
    """

    name: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("pearson_spearman",)
    network: ClassVar[str] = "sequence-classification"
    served: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "regression"

    mean: float = 0.0  # of the training rows' values
    deviation: float = 1.0
    of_values: bool = False  # whether the network gives values, as an exported one does

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the kind, with mean and deviation of the values if they are far from 0.

        Raises:
            ValueError: a positive class is named, or a label is no number.
        """
        if described.positive is not None:
            raise ValueError(
                f"positive = {described.positive!r} names the one of two classes whose F1 is meant; the metric is "
                f"{described.metric}, of values"
            )
        labels = values(rows["label"], rows["id"]).to_numpy().astype(np.float64)
        mean, deviation = float(labels.mean()), float(labels.std())
        if max(abs(mean), deviation) <= FAR or deviation == 0.0:
            return cls(described.metric)
        return cls(described.metric, mean=mean, deviation=deviation)

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with values, float32."""
        label = values(rows["label"], rows["id"])
        return rows.set_column(rows.column_names.index("label"), "label", label).combine_chunks()

    def strata(self, labels: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return the decile [R] of each value."""
        return deciles(np.asarray(labels.to_numpy()))

    def require(self, rows: pa.Table, part: str) -> None:
        """Refuse rows of one value: nothing is learned of them, and no correlation is defined."""
        if part == "validation":
            require_different(rows)
        elif pc.count_distinct(rows["label"]).as_py() == 1:
            raise ValueError("its rows have one and the same label; a regression needs different ones")

    def remarks(self, validation: pa.Table) -> tuple[str, ...]:
        """Say which values are learned."""
        del validation
        if self.output_scale.plain:
            return ()
        return (
            f"The values are {self.mean:.3g} ± {self.deviation:.3g}: networks learn how far they are from the mean, in "
            "deviations. An exported network gives values.",
        )

    @property
    def variant(self) -> tuple[str, ...]:
        """That values are scaled, where they are."""
        return () if self.output_scale.plain else ("scaled values",)

    @property
    def output_scale(self) -> OutputScale:
        """Mean and deviation."""
        return OutputScale(self.deviation, self.mean)

    def of_model(self, names: tuple[str, ...], config: Mapping[str, Any], *, head_bias: bool = True) -> Self:
        """Return the kind with the scale that the head's last layer can hold."""
        del names, config
        if head_bias:
            return self
        scale = self.output_scale.without_shift()
        return replace(self, mean=scale.shift, deviation=scale.scale)

    def with_values(self) -> Self:
        """Return the kind for networks that give values."""
        return replace(self, of_values=True)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The one output."""
        return ("value",)

    def outputs(self, found: Any, batch: Batch) -> Tensor:
        """Return the outputs of a network; of one that gives values, those that would give them."""
        outputs = super().outputs(found, batch)
        return (outputs - self.mean) / self.deviation if self.of_values else outputs

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error, in deviations."""
        wanted = (batch["labels"].float() - self.mean) / self.deviation
        return nn.functional.mse_loss(outputs.float().squeeze(-1), wanted)

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of half the squared errors at values drawn around the predictions, with variance 1."""
        del batch
        noise = torch.randn(outputs.shape, generator=draws, device=outputs.device)
        return (outputs - (outputs + noise).detach()).square().sum() / 2

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return the mean squared difference; values have no temperature."""
        del batch, temperature
        return nn.functional.mse_loss(outputs.float(), taught.float())

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean squared error, in deviations, and the values [V], float32."""
        found = kept.squeeze(-1)
        labels = torch.tensor(split.labels)  # a copy: Arrow memory is read-only
        wanted = (labels.float() - self.mean) / self.deviation
        loss = float(nn.functional.mse_loss(found, wanted))
        return Judged(loss, (found * self.deviation + self.mean).numpy())

    def constant_loss(self, split: Split) -> float:
        """Return the variance: the loss of the mean of these rows."""
        return float(np.var(self._wanted(split)))

    def untrained_loss(self, split: Split) -> float:
        """Return the mean square; it can be far above the variance."""
        return float(np.mean(self._wanted(split) ** 2))

    def _wanted(self, split: Split) -> npt.NDArray[np.float64]:
        return (split.labels.astype(np.float64) - self.mean) / self.deviation
