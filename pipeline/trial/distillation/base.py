"""The interface of a distillation: what is minimised while a network is trained, given what others said of the rows.

What the others said is known before the first step, row by row of the training data (`teacher`): no step runs any
other network than the one that learns. A distillation is a final dataclass whose fields are the keys of its TOML,
one fresh instance per course; it keeps nothing between two steps that a checkpoint would have to hold.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.study.records import Array
from pipeline.task.batches import Batch
from pipeline.task.losses import soft_target_loss
from pipeline.trial.distillation.teacher import Teacher


@dataclass(frozen=True, eq=False)
class DistillationInputs:
    """What a distillation learns from: the teacher's outputs, and the labels [R] of the same rows."""

    teacher: Teacher
    labels: Array
    regression: bool
    device: torch.device
    seed: int


@dataclass
class Distillation(ABC):
    """Learns from the dense network's outputs; what else is learned is left to those who are one."""

    # Whether it looks at representations: the teacher's file has them then.
    features: ClassVar[bool] = False

    kd_weight: float  # of the teacher's part; the labels have the rest
    kd_temperature: float
    _lessons: DistillationInputs | None = field(default=None, init=False, repr=False)
    _logits: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # [R, C]

    @abstractmethod
    def takes_snapshots(self) -> bool:
        """Whether it learns from what the network itself was at the end of earlier rounds: see `remember`."""

    def bind(self, lessons: DistillationInputs) -> None:
        """Takes what is to be learned from to the device, before the first step."""
        self._lessons = lessons
        self._logits = on_device(lessons.teacher.logits, lessons.device)

    def remember(self, features: Array) -> None:
        """Learns from now on from a snapshot, too: features [R, d] of the training rows."""
        raise ValueError(f"{type(self).__name__} takes no snapshots; {len(features)} rows were given.")

    def watch(self, model: nn.Module) -> AbstractContextManager[None]:
        """Around the steps of a phase: sees what the loss needs of the network's forward passes."""
        del model
        return nullcontext()

    def begin(self, rows: Tensor, position: int) -> None:
        """A step begins: numbers of its batch's rows [B], and its place in the course's stream of batches.

        Whatever is drawn for it depends on that place alone, so that a course goes on as if it had never stopped.
        """
        del rows, position

    def loss(self, task_loss: Tensor, logits: Tensor, batch: Batch) -> Tensor:
        """What is minimised in the place of the task's loss on a batch, or on a part of it: a mean over its rows."""
        taught = soft_target_loss(
            logits,
            self._logits[batch["rows"]],
            temperature=self.kd_temperature,
            regression=self.lessons.regression,
        )
        return (1.0 - self.kd_weight) * task_loss + self.kd_weight * taught

    @property
    def lessons(self) -> DistillationInputs:
        """What is learned from.

        Raises:
            RuntimeError: before `bind`.
        """
        if self._lessons is None:
            raise RuntimeError("A distillation attends to its lessons before its first step.")
        return self._lessons


def on_device(array: Array, device: torch.device) -> Tensor:
    """An array on a device; on a CPU without a copy, also where it lies read-only in Ray's object store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it must not be written to: it is not
        return torch.from_numpy(array).to(device)
