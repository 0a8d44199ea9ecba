"""CAP: Xu, Luo, Wang, Chang, Huang, Huang, Huang, "From Dense to Sparse: Contrastive Pruning", arXiv 2112.07198.

Beside the labels and the dense network's outputs a network learns to represent a row as other networks represent it,
apart from all other rows: as the model did that it came from (PrC, what it knew before the task), as it did itself in
earlier rounds (SnC), and as the dense network does (FiC, what the task needs). Of each of them there is a bank, the
representations of all training rows; a batch is compared with its own rows there and with some thousand others.

Shapes: R training rows, B of a batch, M compared with, S networks of a bank, d features.

Deviations, each with its reason.
* A representation is the first token's last hidden state. The authors' code takes that for SQuAD and BERT's pooler for
  classification; not every architecture has a pooler, and not every model's is trained.
* Both contrasts are means over positives, as in the paper. The code divides that of classes by their number once more.
* The batch's own representations are not among what it is compared with (the code has them, some 32 beside 4,096): a
  row's loss then does not depend on its neighbours, and a batch in parts has the gradient of the whole one.
* With fewer training rows than are asked for all of them are compared with, and nothing is drawn.
* A regression has no classes: the contrast of classes is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast, final

import torch
from torch import Tensor, nn

from pipeline.study.records import Array
from pipeline.task.batches import Batch
from pipeline.task.losses import contrasts
from pipeline.trial.distillation.base import Distillation, DistillationInputs, on_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Seeds of neighbouring steps and trials lie apart: a prime above any course's number of steps.
STRIDE = 1_000_000_007
SEEDS = 2**63


@final
@dataclass
class Cap(Distillation):
    """Soft targets and contrasts with banks of representations."""

    features: ClassVar[bool] = True

    cap_temperature: float
    cap_same_row: float
    cap_same_class: float
    cap_negatives: int
    cap_pretrained: bool
    cap_snapshots: bool
    cap_finetuned: bool
    _banks: list[Tensor] = field(default_factory=list, init=False, repr=False)  # each [R, d], of one network
    _snapshots: list[Tensor] = field(default_factory=list, init=False, repr=False)  # each [R, d]: one bank
    _labels: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # [R]
    _generator: torch.Generator | None = field(default=None, init=False, repr=False)
    _compared: Tensor | None = field(
        default=None, init=False, repr=False
    )  # row numbers [M]; None: all of them
    _seen: Tensor | None = field(default=None, init=False, repr=False)  # [B, d]: of the last forward pass

    def takes_snapshots(self) -> bool:
        """If they are a bank."""
        return self.cap_snapshots

    def bind(self, lessons: DistillationInputs) -> None:
        """Takes outputs, banks and labels to the device.

        Raises:
            ValueError: the teacher was not asked for a bank.
        """
        super().bind(lessons)
        self._labels = on_device(lessons.labels, lessons.device)
        self._generator = torch.Generator(lessons.device)
        for wanted, features in (
            (self.cap_pretrained, lessons.teacher.pretrained),
            (self.cap_finetuned, lessons.teacher.finetuned),
        ):
            if wanted and features is None:
                raise ValueError("A bank that is learned from is among the teacher's; it is not.")
            if wanted and features is not None:
                self._banks.append(on_device(features, lessons.device))

    def remember(self, features: Array) -> None:
        """One network more in the bank of snapshots."""
        self._snapshots.append(on_device(features, self.lessons.device))

    def watch(self, model: nn.Module) -> AbstractContextManager[None]:
        """Keeps the representations of each forward pass that has a gradient, until its loss."""
        return self._watch(model)

    @contextmanager
    def _watch(self, model: nn.Module) -> Iterator[None]:
        def keep(_encoder: nn.Module, _args: object, output: tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                self._seen = output[0][:, 0]

        handle = cast("PreTrainedModel", model).base_model.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()
            self._seen = None

    def begin(self, rows: Tensor, position: int) -> None:
        """Draws the rows that the batch is compared with, beside its own."""
        count = len(self._labels)
        if self._generator is None or count <= self.cap_negatives + len(rows):
            self._compared = None
            return
        self._generator.manual_seed((self.lessons.seed * STRIDE + position) % SEEDS)
        drawn = torch.randint(
            count, (self.cap_negatives,), generator=self._generator, device=self._labels.device
        )
        self._compared = torch.cat([rows, drawn])

    def loss(self, task_loss: Tensor, logits: Tensor, batch: Batch) -> Tensor:
        """Labels, soft targets, and the two contrasts with each bank.

        Raises:
            RuntimeError: outside `watch`.
        """
        if self._seen is None:
            raise RuntimeError("The loss follows a forward pass inside `watch`.")
        total = super().loss(task_loss, logits, batch)
        features, self._seen = nn.functional.normalize(self._seen.float(), dim=-1), None
        for bank in [[each] for each in self._banks] + [self._snapshots] * bool(self._snapshots):
            total = total + self._contrast(features, bank, batch)
        return total

    def _contrast(self, features: Tensor, bank: list[Tensor], batch: Batch) -> Tensor:
        """Both contrasts of a batch's representations [B, d] with one bank, each with its weight."""
        compared, labels = self._compared, self._labels
        if compared is None:
            numbers = torch.arange(len(labels), device=labels.device)
            keys = torch.cat([each.float() for each in bank])
        else:
            own = len(compared) - self.cap_negatives
            # of several networks so many fewer rows each: their representations are as many as of one
            numbers = compared[: own + self.cap_negatives // len(bank)]
            labels = labels[numbers]
            keys = torch.cat([each[numbers].float() for each in bank])
        rows = batch["rows"]
        positives = [rows[:, None] == numbers]
        weights = [self.cap_same_row]
        if not self.lessons.regression:
            positives.append(batch["labels"][:, None] == labels)
            weights.append(self.cap_same_class)
        stacked = torch.stack([each.repeat(1, len(bank)) for each in positives])
        found = contrasts(features, keys, stacked, temperature=self.cap_temperature)
        return torch.stack([weight * each for weight, each in zip(weights, found, strict=True)]).sum()
