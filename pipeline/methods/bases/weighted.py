"""What gradual methods on single weights share: a schedule, and masks on the weights.

A method defines how weights are scored and what happens around a step of the optimizer. Weights of the lowest scores
are set to zero as the sparsity rises. Its published form ranks the weights by these scores (`Zeroed`), its lifted form
units by the sum of their weights' scores (`Lifted`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.methods.base import PruningMethod, Run, Unstructured
from pipeline.methods.bases.gates import counting, cubic
from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices, count_to_remove, lift, lowest, matrices
from pipeline.study.records import Scores
from pipeline.task.batches import Batch


@dataclass
class Weighted(PruningMethod):
    """Sparsity s(t) = s_f + (s_i - s_f) (1 - p)³ from `start_fraction` to `end_fraction` of the steps; 0 before.

    Masks are renewed every `interval` steps (Zhu & Gupta 2017, arXiv 1710.01878), and are final at the end.
    """

    replays: ClassVar[bool] = True  # all that it does is around the optimizer's steps
    start_fraction: float
    end_fraction: float
    initial_sparsity: float  # as a part of the target: reached at once at the start
    interval: int  # steps
    _steps: int = field(default=0, init=False, repr=False)
    _masks: Matrices = field(default_factory=dict, init=False, repr=False)  # 1 and 0, of the weights' type
    _resumed: bool = field(default=False, init=False, repr=False)

    @abstractmethod
    def scores_of_weights(self, weights: Matrices) -> Matrices:
        """Return a score for each weight, higher = keep: a tensor for each matrix, of its shape."""

    @abstractmethod
    def holds(self) -> bool:
        """Return whether weights stay at zero until the masks are renewed; else they may grow in between."""

    def begin(self, weights: Matrices, run: Run) -> None:
        """Prepare a round, or the rest of one: what is kept for each weight has the matrices' shapes."""

    def keep(self, scores: Matrices, count: int) -> Matrices:
        """Return masks without the `count` weights of the lowest scores: of the whole network, unless overridden."""
        return lowest(scores, count)

    def before_step(self, weights: Matrices, run: Run, done: float) -> None:
        """Edit the clipped gradients before a step; `done` is the part of the tuning's steps, 0 ... 1."""

    def after_step(self, weights: Matrices, steps: int) -> None:
        """Update averages after a step of the optimizer; gradients are still there, and `steps` counts this one."""

    @contextmanager
    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> Iterator[None]:
        """Set weights to zero after steps of the optimizer; at the exit they stay as they are."""
        del model
        if run.target is None:
            raise ValueError("This method goes to a target sparsity; the run has none.")
        target, weights = run.target, matrices(anatomy)
        if not self._resumed:
            self._masks = {}
        self._masks = {name: mask.to(weights[name]) for name, mask in self._masks.items()}
        self.begin(weights, run)
        self._resumed = False

        def before(_optimizer: torch.optim.Optimizer, _args: object, _kwargs: object) -> None:
            self.before_step(weights, run, self._steps / max(run.total_steps, 1))

        def after() -> None:
            self._steps += 1
            self.after_step(weights, self._steps)
            self._mask(weights, anatomy, target=target, total=run.total_steps)

        with ExitStack() as stack:
            stack.callback(optimizer.register_step_pre_hook(before).remove)
            stack.enter_context(counting(optimizer, after))
            yield

    @torch.no_grad()
    def _mask(self, weights: Matrices, anatomy: Anatomy, *, target: float, total: int) -> None:
        done = self._steps / max(total, 1)
        ended = done >= self.end_fraction
        before = (self._steps - 1) / max(total, 1) >= self.end_fraction
        due = self._steps % self.interval == 0 or (ended and not (before and self._masks))
        if done >= self.start_fraction and due and not (before and self._masks):
            part = cubic(done, start=self.start_fraction, end=self.end_fraction)
            sparsity = target * (1.0 - (1.0 - self.initial_sparsity) * (1.0 - part))
            stay = self.keep(self.scores_of_weights(weights), count_to_remove(anatomy, sparsity))
            self._masks = {name: mask.to(weights[name].dtype) for name, mask in stay.items()}
        elif not (self.holds() or ended):
            return
        if self._masks:
            torch._foreach_mul_([weights[name] for name in self._masks], list(self._masks.values()))

    def kept(self) -> dict[str, Tensor]:
        """Return what a method keeps for each weight, by name."""
        return {}

    def take(self, kept: dict[str, Tensor]) -> None:
        """Restore what `kept` returned."""

    def state(self) -> dict[str, Tensor]:
        """Return steps, masks, and what the method keeps."""
        masks = {f"mask/{name}": mask.bool() for name, mask in self._masks.items()}
        kept = {f"kept/{name}": value.clone() for name, value in self.kept().items()}
        return {"steps": torch.tensor(self._steps)} | masks | kept

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._steps = int(state["steps"])
        self._masks = _under("mask/", state)
        self.take(_under("kept/", state))
        self._resumed = True


class Lifted(Weighted):
    """Ranks heads and neurons, so that the network can be cut."""

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return the weights' scores, summed into heads and neurons, without data."""
        del model, batches
        return lift(self.scores_of_weights(matrices(anatomy)), anatomy)


class Zeroed(Weighted, Unstructured):
    """Ranks the weights themselves, as published."""

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Return the weights' scores, without data."""
        del model, batches
        return self.scores_of_weights(matrices(anatomy))


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): v.clone() for name, v in state.items() if name.startswith(prefix)}
