"""The interface of a pruning method: it watches a model learn, then ranks its removable parts.

Work at a moment of a training step is done by native PyTorch hooks, which `watch` places and its exit removes:
forward hooks on residual branches, optimizer pre- and post-step hooks, parameter groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices
from pipeline.study.records import Array, Scores
from pipeline.task.batches import Batch
from pipeline.task.kinds import BY_OUTPUTS, Kind

Pass = Callable[[Batch], tuple[Tensor, ...]]  # gives gradients; returns task loss and penalty


def keep_as_it_is(values: Tensor) -> Tensor:
    """Return values of one process: they are the sums over all."""
    return values


@dataclass(frozen=True)
class Run:
    """The tuning that a method watches: all rounds together.

    A space has one of `target`, the compression to reach (of single weights: the sparsity), and `threshold`, the
    score at or below which units go; the other is None. `generator` is the method's own source of randomness. `summed`
    adds up values over the processes that share out a batch: a penalty that depends on the whole batch calls it.
    """

    total_steps: int
    train_rows: int
    target: float | None
    generator: torch.Generator
    threshold: float | None = None
    summed: Callable[[Tensor], Tensor] = keep_as_it_is


class PruningMethod(ABC):
    """Watches a model learn, then ranks its removable parts. Never removes them.

    One instance serves one trial, all of its rounds. To go on from a checkpoint, `load` comes before
    `watch`. A concrete method is a final dataclass whose fields are the keys of its TOML.
    """

    # Whether it needs something that is fitted once per base model, before any study, and passed to `equip`.
    needs_fit: ClassVar[bool] = False
    # Whether it reads attention maps as softmax(q k): of networks whose positions are not part of attention.
    needs_plain_scores: ClassVar[bool] = False

    _kind: Kind = BY_OUTPUTS

    @property
    def kind(self) -> Kind:
        """What the task is: its outputs and losses. Unless set, one output is a value and several are classes."""
        return self._kind

    def set_kind(self, kind: Kind) -> None:
        """Set what the task is; called right after the instance is made."""
        self._kind = kind

    def equip(self, fitted: Mapping[str, Array]) -> None:
        """Take what was fitted to the base model; called right after the instance is made."""
        raise ValueError(f"{type(self).__name__} needs no fit; given were {sorted(fitted)}.")

    # Whether forward hooks and penalty compute the same at every step, from tensors that keep their place: a GPU may
    # then replay them. Not where they read a schedule, draw from `Run.generator` or make new tensors for later steps.
    replays: ClassVar[bool] = False
    # Whether all that changes from step to step is in `leaves`, which forward hooks read, and in a penalty that reads
    # nothing of the pass: a GPU may then replay the pass, with `replay` around it.
    splits: ClassVar[bool] = False
    apart: bool = False  # whether the pass at hand is inside `replay`: its penalty is added there

    def leaves(self) -> Sequence[Tensor]:
        """Return the tensors that a replayed pass reads and gives a gradient to; they keep their place."""
        return ()

    def replay(self, run: Pass, batch: Batch) -> tuple[Tensor, ...]:
        """Run a pass that may be replayed, and what changes from step to step around it; return its losses."""
        return run(batch)

    @abstractmethod
    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> AbstractContextManager[None]:
        """Place hooks for one round of tuning.

        Leaving normally bakes (the weights become what the forward pass used); leaving by an exception
        only removes the hooks.
        """

    def penalty(self, batch: Batch) -> Tensor:
        """Return a scalar >= 0 to add to the loss of the last forward pass, made on `batch`; zero unless overridden."""
        return torch.zeros((), device=batch["labels"].device)

    @abstractmethod
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores | Matrices:
        """Return a score for each unit, or weight; higher = keep. Weights, training flag, requires_grad stay."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return all that was learned or averaged so far; empty if nothing is."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned, in a fresh instance."""

    def report(self) -> dict[str, float]:
        """Return numbers to record at the end of an epoch, by name (norms, bounds)."""
        return {}


class Unstructured(PruningMethod):
    """Ranks single weights. They are set to zero: no network gets smaller or faster, and sparsity is the objective."""

    @abstractmethod
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Return a score for each weight of `unstructured.matrices`, on its device; higher = keep."""


class OneShot(PruningMethod):
    """A method that only looks at the trained network: it leaves `score` to write."""

    replays: ClassVar[bool] = True

    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> AbstractContextManager[None]:
        """Do nothing."""
        del model, anatomy, optimizer, run
        return nullcontext()

    def state(self) -> dict[str, Tensor]:
        """Return an empty state."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Check that there is nothing to restore."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state; given were {sorted(state)}.")
