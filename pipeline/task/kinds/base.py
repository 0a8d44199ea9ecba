"""The interface of a kind of task: what rows, a network's outputs and metrics mean. One kind, one file.

The way of a row, and the function of each step:

    strings ─ learn, numbered ─► rows with labels ─ encode ─► Split ─ collate ─► batch ─ network ─► found
    found ─ outputs ─► tensor ─ loss ─► training
                              ─ kept ─► of all rows ─ judge ─► loss, predictions ─ study.metrics ─► scores

All wings above call these functions and never ask which kind it is. A kind is a frozen dataclass: its fields are what
was learned of the training rows (its classes) and what the user chose (the metric). To add one: a file here, a line in
`KINDS` (kinds/__init__.py), its metrics in pipeline/study/metrics.py, its tiny data in tests/kit/kinds.py; the
conformance test tests/task/kinds/test_conformance.py then tries it.

Shapes: R rows of a part, B rows of a batch, T tokens, C outputs, V units that a metric counts (rows, questions
or queries).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Generator, Tensor

from pipeline.study import metrics
from pipeline.study.output_scale import AS_IT_IS, OutputScale
from pipeline.study.records import Array
from pipeline.task.batches import Batch, Split
from pipeline.task.carve import text_key
from pipeline.task.kinds.tables import TEXT_COLUMNS
from pipeline.task.tokens import encode
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Description:
    """What the user said of a task beside its files: the metric, of two classes the positive one, a kind's options."""

    metric: str
    positive: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Judged:
    """A network's results on all rows: mean loss, predictions [V, ...] as `labels`, and scores beside the metric's."""

    loss: float
    predictions: Array
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind(ABC):
    """One kind of task, with its metric and its classes."""

    # `kind` of a task file, --kind
    name: ClassVar[str]
    # of study/metrics.py; the first is the default
    metrics: ClassVar[tuple[str, ...]]
    # what stands on the encoder: a key of pipeline.model.heads.HEADS
    network: ClassVar[str]
    # of the network's config.json; None: it has no such entry
    problem_type: ClassVar[str | None] = None
    # whether a row has one class of its own, so that rows of one class are alike (CAP's contrast)
    one_class: ClassVar[bool] = False

    # whether texts or labels may be lists or objects: they come as JSON
    nested: ClassVar[bool] = False
    # whether rows have a label column, which is found
    labelled: ClassVar[bool] = True
    # by which its columns are found in a file
    usual: ClassVar[Usual] = Usual()
    # whether MLflow's model of an exported network predicts it
    served: ClassVar[bool] = False
    # whether a row's text is an image: bytes, or a file's name
    of_images: ClassVar[bool] = False
    # keys of a task file that are this kind's own
    options: ClassVar[tuple[str, ...]] = ()

    metric: str
    class_names: tuple[str, ...] = ()

    # ---- rows -------------------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the kind as the training rows show it: its classes in their order.

        Args:
            rows: id, text_a, text_b if there are two, and label: strings (lists as JSON), or a dictionary array.
            described: by the user.

        Raises:
            ValueError: the rows or the description cannot be used; the message says how many rows, and names the first.
        """

    @abstractmethod
    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with labels that a network learns, in place of the strings.

        The column `label` is of numbers [R], of lists of one length [R, C] (a fixed-size list), or of a list with an
        entry per token (`collate` pads it with -100). Further columns of numbers are kept by `encode` where it says so.

        Raises:
            ValueError: some labels cannot be used: how many, and the first row.
        """

    @classmethod
    def written_strata(cls, labels: list[str | None]) -> npt.NDArray[np.int64]:
        """Return the stratum [R] of each label as it was written, by which test rows are kept aside; default: one."""
        return np.zeros(len(labels), np.int64)

    def strata(self, labels: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return the stratum [R] of each numbered label, by which rows are set aside; by default there is one."""
        return np.zeros(len(labels), np.int64)

    @classmethod
    def keys(cls, rows: pa.Table) -> list[str]:
        """Return a key [R]: rows of one key are never parted. By default all of a row's texts."""
        columns = [rows[name].to_pylist() for name in TEXT_COLUMNS if name in rows.column_names]
        return [text_key(*(text or "" for text in row)) for row in zip(*columns, strict=True)]

    @classmethod
    def reads_label(cls, metric: str) -> bool:
        """Return whether rows have a label column with a metric."""
        del metric
        return cls.labelled

    def require(self, rows: pa.Table, part: str) -> None:  # noqa: B027 (most kinds refuse nothing)
        """Refuse rows of a part, train or validation, from which nothing can be learned or measured.

        Raises:
            ValueError: such rows.
        """

    def remarks(self, validation: pa.Table) -> tuple[str, ...]:
        """Return remarks on the labels for the user: classes without validation rows, which class F1 is of."""
        del validation
        return ()

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return numbered rows as tokens: id, input_ids, (token_type_ids,) label; see `tokens.encode`."""
        return encode(rows, tokenizer, max_length=max_length)

    def split(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Split:
        """Return what `encode` gave as rows that batches are made of.

        Raises:
            ValueError: the tokenizer has no padding token.
        """
        if tokenizer.pad_token_id is None:
            raise ValueError(
                "Batches are padded: the tokenizer needs a padding token, and this one has none."
            )
        return Split(rows, int(tokenizer.pad_token_id))

    def examples(self, rows: pa.Table) -> list[str]:
        """Return what a built-in model is made from: all texts of the train rows."""
        columns = [name for name in TEXT_COLUMNS if name in rows.column_names]
        return [text for name in columns for text in rows[name].to_pylist()]

    # ---- rows without labels ----------------------------------------------------------------------------------------

    @property
    def unlabelled(self) -> bool:
        """Whether rows have no labels: what the dense network says of them takes their place (see `answers`)."""
        return False

    @property
    def trains_on_answers(self) -> bool:
        """Whether networks are trained on these answers; if not, no step of training is made."""
        return False

    def of_model(self, names: tuple[str, ...], config: Mapping[str, Any], *, head_bias: bool = True) -> Self:
        """Return the kind as a model completes it: names of its head's outputs, configuration, its head's bias."""
        del names, config, head_bias
        return self

    def answers(self, kept: Tensor) -> Array:
        """Return what takes the place of labels [R, ...], of the dense network's `kept` outputs."""
        raise ValueError(f"Rows of a {self.name} task have labels; {len(kept)} answers were given.")

    # ---- calibration ------------------------------------------------------------------------------------------------

    @property
    def fits(self) -> bool:
        """Whether something of the predictions, a threshold, is chosen for each network on calibration rows."""
        return False

    def fitted(self, kept: Tensor, calibration: Split) -> Self:
        """Return the kind with what is chosen by a network's `kept` outputs for calibration rows, for these outputs."""
        del kept, calibration
        return self

    @property
    def reading(self) -> dict[str, float]:
        """How outputs become predictions, beyond the names of classes: entries of an exported config.json."""
        return {}

    @property
    def variant(self) -> tuple[str, ...]:
        """What the user chose beside metric and classes, where it is not the default; of the task's fingerprint."""
        return ()

    # ---- network ----------------------------------------------------------------------------------------------------

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the head's outputs, in their order; none if the head always has the same."""
        return self.class_names

    @property
    def classes(self) -> int:
        """The number of classes that a metric counts; 0 if there are none."""
        return len(self.class_names)

    @property
    def output_scale(self) -> OutputScale:
        """What turns outputs into values; by default they are values."""
        return AS_IT_IS

    def with_values(self) -> Self:
        """Return the kind for networks that give values: exported ones. By default all do."""
        return self

    def outputs(self, found: Any, batch: Batch) -> Tensor:
        """Return what a network gave for a batch as one tensor [B, ...]; by default its logits."""
        del batch
        logits: Tensor = found.logits
        return logits

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the loss that is minimised: a mean over the batch's `weight`, in fp32."""

    def weight(self, batch: Batch) -> float:
        """Return what the loss is a mean over: rows. With it parts of a batch add up to the whole."""
        return float(len(batch["labels"]))

    @abstractmethod
    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of losses at labels that are drawn from the network's own predictions.

        Its squared derivatives are the Fisher information. Labels of the batch are not read, but for where they are.
        """

    def taught(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return what a teacher's outputs are kept as [B, ...]; along tokens it is padded to the longest row."""
        del batch
        return outputs.float()

    @abstractmethod
    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return the loss of outputs against a teacher's, as `taught` kept them: a mean over `weight`."""

    # ---- measurement ------------------------------------------------------------------------------------------------

    def kept(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return what of a batch's outputs [B, ...] is kept until all rows are there, in fp32, for `judge`."""
        del batch
        return outputs.float()

    @abstractmethod
    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return loss and predictions [V, ...] of all rows, in the split's order; `kept` is padded along tokens."""

    def labels(self, split: Split) -> Array:
        """Return what predictions are compared with [V, ...]: what the store keeps beside them."""
        return split.labels

    def ids(self, split: Split) -> list[str]:
        """Return the stable id of each unit [V] that the metric counts; by default of each row."""
        return split.ids

    def score(self, judged: Judged, split: Split) -> dict[str, float]:
        """Return the scores of predictions by name: `metric` first."""
        found = metrics.evaluate(self.metric, self.labels(split), judged.predictions, classes=self.classes)
        return found | dict(judged.scores)

    def constant(self, split: Split) -> float:
        """Return the metric of the best prediction that is the same for all rows."""
        return metrics.constant(self.metric, self.labels(split), classes=self.classes)

    @abstractmethod
    def constant_loss(self, split: Split) -> float:
        """Return the loss of the best prediction that is the same for all rows."""

    @abstractmethod
    def untrained_loss(self, split: Split) -> float:
        """Return the loss of a network whose outputs are all 0, as they nearly are before training."""
