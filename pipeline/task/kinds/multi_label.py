"""Several labels per row: each of C labels is there or not.

Shapes: B rows of a batch, C labels; outputs, labels and predictions are [B, C].
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor, nn

from pipeline.study import metrics
from pipeline.task.batches import Batch, Split
from pipeline.task.kinds.base import Description, Judged, Kind, listed, row_number, with_label
from pipeline.task.kinds.usual import Usual

THRESHOLD = 0.5  # of a label's probability, from which on it is predicted
bce = nn.functional.binary_cross_entropy_with_logits


@final
@dataclass(frozen=True)
class MultiLabel(Kind):
    """A set of labels per row; the loss is the binary cross-entropy, a mean over rows and labels."""

    name: ClassVar[str] = "multi-label"
    metrics: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "subset_accuracy")
    network: ClassVar[str] = "sequence-classification"
    problem_type: ClassVar[str | None] = "multi_label_classification"
    nested: ClassVar[bool] = True
    usual: ClassVar[Usual] = Usual(labels=("labels", "label", "tags", "topics", "emotions", "categories"))

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the labels that the rows have, by name.

        Raises:
            ValueError: a row has none, or all rows have one and the same.
        """
        sets = _sets(rows)
        names = sorted({name for each in sets for name in each}, key=_by_number)
        if len(names) < 2:
            raise ValueError(f"it needs two labels or more; its rows have {', '.join(names) or 'none'}")
        return cls(described.metric, tuple(names))

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with 0 and 1 for each label, float32 [R, C].

        Raises:
            ValueError: a row has a label that train has not.
        """
        place = {name: number for number, name in enumerate(self.class_names)}
        found = np.zeros((rows.num_rows, len(place)), np.float32)
        for row, names in enumerate(_sets(rows)):
            for name in names:
                if name not in place:
                    raise ValueError(
                        f"row {row_number(rows, row)} has the label {name!r}, which train has not "
                        f"({', '.join(self.class_names[:20])})"
                    )
                found[row, place[name]] = 1
        flat = pa.array(found.reshape(-1))
        return with_label(rows, pa.FixedSizeListArray.from_arrays(flat, len(place)))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean binary cross-entropy."""
        return bce(outputs.float(), batch["labels"])

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of the rows' losses at labels drawn one by one from their probabilities."""
        del batch
        labels = torch.bernoulli(outputs.detach().sigmoid(), generator=draws)
        return bce(outputs, labels, reduction="sum") / outputs.shape[-1]

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return T² · KL of each label's probabilities at temperature T, a mean over rows and labels."""
        del batch
        ours, theirs = outputs.float() / temperature, taught.float() / temperature
        share = theirs.sigmoid()
        return temperature**2 * (bce(ours, share) - bce(theirs, share))

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean loss, and which labels have a probability of 0.5 and above."""
        loss = bce(kept, torch.tensor(split.labels))
        return Judged(float(loss), (kept.sigmoid() >= THRESHOLD).numpy().astype(np.uint8))

    def labels(self, split: Split) -> np.ndarray:
        """Return which labels are there [V, C], uint8."""
        return split.labels.astype(np.uint8)

    def constant(self, split: Split) -> float:
        """Return the metric of the best fixed set: the most frequent labels, as many as help, or the commonest set."""
        there = self.labels(split)
        order = np.argsort(-there.sum(axis=0), kind="stable")
        sets = [np.isin(np.arange(there.shape[1]), order[:count]) for count in range(1, there.shape[1] + 1)]
        unique, counts = np.unique(there, axis=0, return_counts=True)
        tried = [*sets, unique[counts.argmax()].astype(bool)]
        return max(
            metrics.evaluate(self.metric, there, np.broadcast_to(each, there.shape).astype(np.uint8))[
                "metric"
            ]
            for each in tried
        )

    def constant_loss(self, split: Split) -> float:
        """Return the mean over labels of the entropy of their share, in nats."""
        share = split.labels.astype(np.float64).mean(axis=0)
        both = np.stack([share, 1 - share])
        return float(-(both * np.log(np.where(both > 0, both, 1))).sum(axis=0).mean())

    def untrained_loss(self, split: Split) -> float:
        """Return ln 2."""
        del split
        return float(np.log(2))


def _sets(rows: pa.Table) -> list[list[str]]:
    """Return the labels of each row.

    Raises:
        ValueError: a row has none: how many, and the first. (A row of 0/1 columns may have none.)
    """
    found = [listed(text) for text in rows["label"].to_pylist()]
    empty = [row for row, names in enumerate(found) if not names]
    if empty and rows["label"][empty[0]].as_py() != json.dumps({}):
        count = "1 row has" if len(empty) == 1 else f"{len(empty)} rows have"
        raise ValueError(f"{count} an empty list of labels; the first is row {row_number(rows, empty[0])}")
    return found


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else -1, name)
