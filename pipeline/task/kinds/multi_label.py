"""Several labels per row: each of C labels is there or not.

Shapes: B rows of a batch, C labels; outputs, labels and predictions are [B, C].
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor, nn

from pipeline.study import metrics
from pipeline.study.classes import INTEGER, LONGEST_NUMBER
from pipeline.task.batches import Batch, Split
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.tables import listed, row_number, with_label
from pipeline.task.usual import Usual

THRESHOLD, FITTED = (
    0.5,
    "fitted",
)  # of a label's probability, from which on it is predicted; its key's other value
TRIED = np.arange(1, 100) / 100  # thresholds
bce = nn.functional.binary_cross_entropy_with_logits


@final
@dataclass(frozen=True)
class MultiLabel(Kind):
    """A set of labels per row; the loss is the binary cross-entropy, a mean over rows and labels.

    A label is predicted from a `threshold` of its probability on, one for all labels. `fit`: it is the one of 0.01 to
    0.99 with the best metric on calibration rows, chosen anew for each network.
    """

    name: ClassVar[str] = "multi-label"
    metrics: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "subset_accuracy")
    network: ClassVar[str] = "sequence-classification"
    problem_type: ClassVar[str | None] = "multi_label_classification"
    nested: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("threshold",)
    usual: ClassVar[Usual] = Usual(labels=("labels", "label", "tags", "topics", "emotions", "categories"))

    threshold: float | None = THRESHOLD  # None: still to be fitted
    fit: bool = False

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the labels that the rows have, by name.

        Raises:
            ValueError: a row has none, all rows have one and the same, or the threshold is none.
        """
        sets = _sets(rows)
        names = sorted({name for each in sets for name in each}, key=_by_number)
        if len(names) < 2:
            raise ValueError(f"it needs two labels or more; its rows have {', '.join(names) or 'none'}")
        threshold = described.options.get("threshold", str(THRESHOLD))
        fit = threshold == FITTED
        return cls(described.metric, tuple(names), None if fit else _probability(threshold), fit)

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

    @property
    def reading(self) -> dict[str, float]:
        """The threshold."""
        return {} if self.threshold is None else {"threshold": self.threshold}

    @property
    def variant(self) -> tuple[str, ...]:
        """The threshold, where it is another one than 0.5."""
        if self.fit:
            return (f"threshold {FITTED}",)
        return () if self.threshold == THRESHOLD else (f"threshold {self.threshold}",)

    @property
    def fits(self) -> bool:
        """Whether the threshold is still to be chosen on calibration rows."""
        return self.threshold is None

    def fitted(self, kept: Tensor, calibration: Split) -> Self:
        """Return the kind with the threshold that gives the best metric; of several the one nearest to 0.5."""
        there, share = self.labels(calibration), kept.sigmoid().numpy()
        scores = [
            metrics.evaluate(self.metric, there, (share >= tried).astype(np.uint8))["metric"]
            for tried in TRIED
        ]
        best = TRIED[np.array(scores) == max(scores)]
        return replace(self, threshold=float(best[np.abs(best - THRESHOLD).argmin()]))

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
        """Return the mean loss, which labels have the threshold's probability and above, and a fitted threshold."""
        if self.threshold is None:
            raise ValueError("The threshold is fitted to a network before its labels are judged.")
        loss = bce(kept, torch.tensor(split.labels))
        scores = {"threshold": self.threshold} if self.fit else {}
        return Judged(float(loss), (kept.sigmoid() >= self.threshold).numpy().astype(np.uint8), scores)

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


def _probability(text: str) -> float:
    """Return a threshold.

    Raises:
        ValueError: it is no number between 0 and 1.
    """
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise ValueError(f"threshold is a probability between 0 and 1, or {FITTED!r}; given was {text!r}")
    return found


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if INTEGER.fullmatch(name) and len(name) <= LONGEST_NUMBER else -1, name)
