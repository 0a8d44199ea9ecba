"""The interface of a distillation: the loss of a network, given other networks' outputs for the training rows.

These outputs are computed before the first step (`teacher`), so a step runs only the network that is trained. A
distillation is a final dataclass whose fields are the keys of its TOML, with one fresh instance per trial; it keeps
nothing between two steps that a checkpoint would have to hold.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Array
from pipeline.task.batches import Batch
from pipeline.task.kinds import Kind
from pipeline.trial.distillation.teacher import Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class DistillationInputs:
    """What a distillation learns from: the teacher's outputs, and the labels [R] of the same rows."""

    teacher: Teacher
    labels: Array
    kind: Kind
    device: torch.device
    seed: int


@dataclass
class Distillation(ABC):
    """Soft targets from the dense network's outputs; subclasses may add to the loss."""

    # Whether it compares representations, and hidden states of all layers, which the teacher then includes.
    features: ClassVar[bool] = False
    states: ClassVar[bool] = False

    kd_weight: float  # of the soft targets; the labels have the rest
    kd_temperature: float
    _inputs: DistillationInputs | None = field(default=None, init=False, repr=False)
    _logits: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # [R, ...]

    @abstractmethod
    def takes_snapshots(self) -> bool:
        """Return whether it learns from the network itself as earlier rounds left it: see `remember`."""

    def bind(self, inputs: DistillationInputs) -> None:
        """Move what it learns from to the device, before the first step."""
        self._inputs = inputs
        self._logits = on_device(inputs.teacher.logits, inputs.device)

    @property
    def snapshots(self) -> Sequence[Tensor]:
        """The snapshots that it learns from, [R, d] each."""
        return ()

    def remember(self, features: Array) -> None:
        """Learn from now on also from a snapshot: features [R, d] of the training rows."""
        raise ValueError(f"{type(self).__name__} takes no snapshots; {len(features)} rows were given.")

    def watch(self, model: PreTrainedModel, anatomy: Anatomy) -> AbstractContextManager[None]:
        """Return a context around the steps of a phase that records what the loss needs of forward passes."""
        del model, anatomy
        return nullcontext()

    def begin(self, rows: Tensor, position: int) -> None:
        """Prepare a step; what is drawn depends on its position alone, so that a resumed trial draws the same.

        Args:
            rows: numbers of the batch's rows [B].
            position: of the step in the trial's stream of batches.
        """
        del rows, position

    def loss(self, task_loss: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the loss that replaces the task's, on a batch or on a part of it: a mean over its rows."""
        taught = self._logits[batch["rows"]]
        if (
            taught.ndim > 2
        ):  # an entry per token: padded to the longest row of all, batches for a GPU beyond it
            missing = outputs.shape[1] - taught.shape[1]
            taught = nn.functional.pad(taught, (*(0, 0) * (taught.ndim - 2), 0, missing))
        soft = self.inputs.kind.soft_loss(outputs, taught, batch, temperature=self.kd_temperature)
        return (1.0 - self.kd_weight) * task_loss + self.kd_weight * soft

    @property
    def inputs(self) -> DistillationInputs:
        """What it learns from.

        Raises:
            RuntimeError: before `bind`.
        """
        if self._inputs is None:
            raise RuntimeError("A distillation is bound to its inputs before its first step.")
        return self._inputs


def on_device(array: Array, device: torch.device) -> Tensor:
    """Move an array to a device; on a CPU without a copy, also if it is read-only in Ray's object store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the array is read-only: nothing writes to it
        return torch.from_numpy(array).to(device)
