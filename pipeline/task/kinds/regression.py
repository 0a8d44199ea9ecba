"""Regression: a row, of one text or two, has a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Generator, Tensor, nn

from pipeline.task.batches import Batch, Split
from pipeline.task.carve import deciles
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.classification import require_different
from pipeline.task.labels import values

FAR = 10.0  # of values: of those in [0, 5], as of sentence similarity, networks learn; of prices they do not


@final
@dataclass(frozen=True)
class Regression(Kind):
    """One value per row, one output; the loss is the squared error. Shapes: outputs [B, 1], labels [B]."""

    name: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("pearson_spearman",)
    network: ClassVar[str] = "sequence-classification"
    served: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "regression"

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the kind; there are no classes to learn.

        Raises:
            ValueError: a positive class is named.
        """
        del rows
        if described.positive is not None:
            raise ValueError(
                f"positive = {described.positive!r} names the one of two classes whose F1 is meant; the metric is "
                f"{described.metric}, of values"
            )
        return cls(described.metric)

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
        """Remark on values that a network hardly reaches: its outputs begin near 0, and learn in small steps."""
        labels = np.asarray(validation["label"].to_numpy(), dtype=np.float64)
        mean, deviation = float(labels.mean()), float(labels.std())
        if abs(mean) <= FAR and deviation <= FAR:
            return ()
        return (
            f"The values are about {mean:.3g} ± {deviation:.3g}. A network begins near 0 and learns in small steps: it "
            "may not come so far. Subtract the mean and divide by the deviation; the correlations are the same.",
        )

    @property
    def output_names(self) -> tuple[str, ...]:
        """The one output."""
        return ("value",)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error."""
        return nn.functional.mse_loss(outputs.float().squeeze(-1), batch["labels"].float())

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
        """Return the mean squared error, and the values [V], float32."""
        found = kept.squeeze(-1)
        labels = torch.tensor(split.labels)  # a copy: Arrow memory is read-only
        return Judged(float(nn.functional.mse_loss(found, labels.float())), found.numpy())

    def constant_loss(self, split: Split) -> float:
        """Return the variance of the values: the loss of their mean."""
        return float(np.var(split.labels.astype(np.float64)))

    def untrained_loss(self, split: Split) -> float:
        """Return the mean square of the values; it can be far above their variance."""
        return float(np.mean(split.labels.astype(np.float64) ** 2))
