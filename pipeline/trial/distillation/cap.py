"""CAP: Xu, Luo, Wang, Chang, Huang, Huang, Huang, "From Dense to Sparse: Contrastive Pruning", arXiv 2112.07198.

Beside the labels and the dense network's outputs, a network learns to represent a row as other networks represent it,
and apart from all other rows: as the model that it came from (PrC, the knowledge before the task), as itself in earlier
rounds (SnC), and as the dense network (FiC, the knowledge of the task). For each of these there is a bank, the
representations of all training rows; a batch is contrasted with its own rows in it and with some thousand others.

Shapes: R training rows, B rows of a batch, M rows it is compared with, S networks of a bank, d features.

Deviations, each with its reason.
* A representation is the first token's last hidden state. The authors' code takes that for SQuAD and BERT's pooler for
  classification; not every architecture has a pooler, and not every model's is trained.
* Both contrasts are means over positives, as in the paper. The code divides that of classes by their number once more.
* A batch is not compared with its own representations (in the code it is, with some 32 beside 4,096 others): so a row's
  loss does not depend on its neighbours, and a batch in parts has the gradient of the whole one.
* With fewer training rows than `cap_negatives`, a batch is compared with all of them, and nothing is drawn.
* Where rows have no class of their own (values, tags, spans) the contrast of classes is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Array
from pipeline.task.batches import Batch
from pipeline.task.losses import contrasts
from pipeline.trial.distillation.base import Distillation, DistillationInputs, on_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# A prime above any trial's number of steps: no two steps of neighbouring trials have the same seed.
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
    # numbers of the rows to compare with [M]; None for all
    _compared: Tensor | None = field(default=None, init=False, repr=False)
    _latest: Tensor | None = field(default=None, init=False, repr=False)  # [B, d], of the last forward pass

    def takes_snapshots(self) -> bool:
        """Return whether there is a bank of them."""
        return self.cap_snapshots

    def bind(self, inputs: DistillationInputs) -> None:
        """Move outputs, banks and labels to the device.

        Raises:
            ValueError: a bank is not among the teacher's.
        """
        super().bind(inputs)
        self._labels = on_device(inputs.labels, inputs.device)
        self._generator = torch.Generator(inputs.device)
        for used, features in (
            (self.cap_pretrained, inputs.teacher.pretrained),
            (self.cap_finetuned, inputs.teacher.finetuned),
        ):
            if used and features is None:
                raise ValueError("A bank that is learned from is among the teacher's; it is not.")
            if used and features is not None:
                self._banks.append(on_device(features, inputs.device))

    @property
    def snapshots(self) -> Sequence[Tensor]:
        """Those of the bank."""
        return self._snapshots

    def remember(self, features: Array) -> None:
        """Add a network to the bank of snapshots."""
        self._snapshots.append(on_device(features, self.inputs.device))

    def watch(self, model: PreTrainedModel, anatomy: Anatomy) -> AbstractContextManager[None]:
        """Keep the representations of each forward pass with gradients until its loss, inside the context."""
        del anatomy
        return self._watch(model)

    @contextmanager
    def _watch(self, model: PreTrainedModel) -> Iterator[None]:
        def keep(_encoder: nn.Module, _args: object, output: tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                self._latest = output[0][:, 0]

        handle = model.base_model.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()
            self._latest = None

    def begin(self, rows: Tensor, position: int) -> None:
        """Draw the rows that the batch is compared with, beside its own."""
        count = len(self._labels)
        if self._generator is None or count <= self.cap_negatives + len(rows):
            self._compared = None
            return
        self._generator.manual_seed((self.inputs.seed * STRIDE + position) % SEEDS)
        drawn = torch.randint(
            count, (self.cap_negatives,), generator=self._generator, device=self._labels.device
        )
        self._compared = torch.cat([rows, drawn])

    def loss(self, task_loss: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the losses on labels and soft targets, and of the two contrasts with each bank.

        Raises:
            RuntimeError: outside `watch`.
        """
        if self._latest is None:
            raise RuntimeError("The loss follows a forward pass inside `watch`.")
        total = super().loss(task_loss, outputs, batch)
        features, self._latest = nn.functional.normalize(self._latest.float(), dim=-1), None
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
            # a bank of several networks has fewer rows of each, and as many representations as a bank of one
            numbers = compared[: own + self.cap_negatives // len(bank)]
            labels = labels[numbers]
            keys = torch.cat([each[numbers].float() for each in bank])
        rows = batch["rows"]
        positives = [rows[:, None] == numbers]
        weights = [self.cap_same_row]
        if self.inputs.kind.one_class:
            positives.append(batch["labels"][:, None] == labels)
            weights.append(self.cap_same_class)
        stacked = torch.stack([each.repeat(1, len(bank)) for each in positives])
        found = contrasts(features, keys, stacked, temperature=self.cap_temperature)
        return torch.stack([weight * each for weight, each in zip(weights, found, strict=True)]).sum()
