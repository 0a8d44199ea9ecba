"""Classification: a row, of one text or two, has one of C classes.

Shapes: B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Generator, Tensor, nn

from pipeline.study.classes import class_key
from pipeline.study.metrics import AGREEMENT
from pipeline.study.records import Array
from pipeline.task.batches import Batch, Split
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.tables import unknown
from pipeline.task.labels import class_names, class_numbers

NO_LABELS = (
    "The rows have no labels: the metric is agreement, the share of rows for which a network predicts the class that "
    "the dense network predicts."
)
OF_ONE_CLASS = ("f1", "accuracy_f1")  # metrics that count the hits of one class, where there are two


@dataclass(frozen=True)
class Classification(Kind):
    """One class per row; the loss is the cross-entropy."""

    name: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "accuracy_f1", "matthews", AGREEMENT)
    network: ClassVar[str] = "sequence-classification"
    served: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "single_label_classification"
    one_class: ClassVar[bool] = True

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the classes that the rows have; none of rows without labels: then the model has them."""
        names = () if described.metric == AGREEMENT else class_names(rows["label"])
        return cls(described.metric, _positive_last(names, described.positive, described.metric))

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with class numbers, int64; with -1 where they have no labels."""
        if self.unlabelled:
            return unknown(rows)
        label = class_numbers(rows["label"], self.class_names, rows["id"])
        return rows.set_column(rows.column_names.index("label"), "label", label).combine_chunks()

    @classmethod
    def written_strata(cls, labels: list[str | None]) -> npt.NDArray[np.int64]:
        """Return the class [R] of each label."""
        _, classes = np.unique([class_key(label or "") for label in labels], return_inverse=True)
        return classes.astype(np.int64)

    def strata(self, labels: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return the class [R] of each label."""
        return np.asarray(labels.to_numpy()).astype(np.int64)

    def require(self, rows: pa.Table, part: str) -> None:
        """Refuse validation rows that all have one label: every network would score as a constant prediction does."""
        if part == "validation" and not self.unlabelled:
            require_different(rows)

    def remarks(self, validation: pa.Table) -> tuple[str, ...]:
        """Return which class F1 is of, and which classes have no validation row."""
        names = self.class_names
        if self.unlabelled:
            return (NO_LABELS,)
        of = (
            f"F1 is that of the class {names[1]!r}."
            if len(names) == 2 and self.metric in OF_ONE_CLASS
            else ""
        )
        absent = {*range(len(names))} - {*validation["label"].to_pylist()}
        every = (of, *(f"No validation row has the class {names[number]!r}." for number in sorted(absent)))
        return tuple(remark for remark in every if remark)

    @property
    def unlabelled(self) -> bool:
        """Whether the metric is agreement with the dense network, whose predictions take the place of labels."""
        return self.metric == AGREEMENT

    def of_model(self, names: tuple[str, ...], config: Mapping[str, Any], *, head_bias: bool = True) -> Self:
        """Return the kind with the classes of the model's own head, where rows have no labels."""
        del config, head_bias
        return replace(self, class_names=names) if self.unlabelled else self

    def answers(self, kept: Tensor) -> Array:
        """Return the predicted classes [R]."""
        return kept.argmax(dim=-1).numpy()

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of logits [B, C]."""
        return nn.functional.cross_entropy(outputs.float(), batch["labels"])

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of the rows' cross-entropies at classes drawn from the softmax."""
        del batch
        labels = outputs.detach().softmax(-1).multinomial(1, generator=draws).squeeze(1)
        return nn.functional.cross_entropy(outputs, labels, reduction="sum")

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return T² · KL(softmax(t/T) ‖ softmax(s/T)), a mean over rows (arXiv 1503.02531, section 2)."""
        del batch
        return soft_targets(outputs, taught, temperature=temperature)

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean cross-entropy, and the most likely class [V] of each row, int16."""
        labels = torch.tensor(split.labels)  # a copy: Arrow memory is read-only
        predictions = kept.argmax(dim=-1).numpy().astype(np.int16)
        return Judged(float(nn.functional.cross_entropy(kept, labels)), predictions)

    def constant_loss(self, split: Split) -> float:
        """Return the entropy of the classes, in nats: the loss of predicting their shares."""
        return entropy(split.labels)

    def untrained_loss(self, split: Split) -> float:
        """Return ln C; without classes, C of those that the rows have."""
        return float(np.log(self.classes or int(split.labels.max()) + 1))


def soft_targets(
    outputs: Tensor, taught: Tensor, *, temperature: float, where: Tensor | None = None
) -> Tensor:
    """Return T² · KL(softmax(t/T) ‖ softmax(s/T)), a mean over rows: logits s and teacher t, both [..., C].

    `where` [...] says which rows count; without any it is 0.

    Hinton et al. 2015 (arXiv 1503.02531), section 2: T² keeps its gradient's size whatever T is.
    """
    ours, theirs = ((each.float() / temperature).log_softmax(dim=-1) for each in (outputs, taught))
    if where is None:
        return temperature**2 * nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    each = nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
    return temperature**2 * (each * where).sum() / where.sum().clamp(min=1)


def entropy(labels: Array) -> float:
    """Return the entropy of classes [N] in nats."""
    shares = np.bincount(labels.astype(np.int64)) / len(labels)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def require_different(validation: pa.Table) -> None:
    """Refuse validation rows that all have one label.

    Raises:
        ValueError: they have.
    """
    if pc.count_distinct(validation["label"]).as_py() == 1:
        count = (
            "1 validation row has"
            if validation.num_rows == 1
            else f"{validation.num_rows:,} validation rows have"
        )
        raise ValueError(f"its {count} one and the same label; a metric needs different ones, so more rows")


def _positive_last(names: tuple[str, ...], positive: str | None, metric: str) -> tuple[str, ...]:
    """Return the classes with the positive one as number 1, whose F1 is meant.

    Raises:
        ValueError: it is none of two classes, or the metric has no such class.
    """
    if positive is None:
        return names
    matching = [name for name in names if class_key(name) == class_key(positive)]
    if metric not in OF_ONE_CLASS or len(names) != 2 or not matching:
        raise ValueError(
            f"positive = {positive!r} names the one of two classes whose F1 is meant; the metric is {metric} and the "
            f"classes are {', '.join(names)}"
        )
    return (*(name for name in names if name != matching[0]), matching[0])
