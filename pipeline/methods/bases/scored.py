"""What methods with a learned score for every weight share: the mask that follows from it, and its gradient.

The forward pass has W' = W ⊙ M(S). Back come ∂L/∂W = ∂L/∂W' ⊙ M and, straight through the mask, ∂L/∂S = ∂L/∂W' ⊙ W
(arXiv 2005.07683). The network's own tensor holds W' throughout, so that all code reads what the forward
pass uses; the entries of W that a mask hides are kept apart, and restored for a step of the optimizer.

Shapes: S, M and W as the six matrices of a layer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.methods.base import Pass, Run, Unstructured
from pipeline.methods.bases.gates import counting, cubic, learned
from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.model.unstructured import Matrices, matrices
from pipeline.task.batches import Batch


@dataclass
class Scored(Unstructured):
    """Scores start at 0 and are learned with a rate of their own; masks are made anew after every step."""

    splits: ClassVar[bool] = True
    score_learning_rate: float
    start_fraction: float  # of the tuning steps before anything goes
    end_fraction: float  # of the tuning steps after which the target stands
    _scores: Matrices = field(default_factory=dict, init=False, repr=False)
    # 1 and 0, of the weights' type: multiplied with no conversion. Both are empty while everything stays, but on a GPU:
    # there they are made once and written in place, so that a pass can be replayed.
    _masks: Matrices = field(default_factory=dict, init=False, repr=False)
    _hidden: Matrices = field(default_factory=dict, init=False, repr=False)  # W where M is 0, else 0
    _steps: int = field(default=0, init=False, repr=False)
    _resumed: bool = field(default=False, init=False, repr=False)
    _run: Run | None = field(default=None, init=False, repr=False)

    @abstractmethod
    def masks(self, scores: Matrices, anatomy: Anatomy, run: Run, part: float) -> Matrices:
        """Return masks of the weights that stay after `part` of the schedule, more than 0 and up to 1."""

    @contextmanager
    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> Iterator[None]:
        """Learn the scores; at the exit the weights stay what the forward pass used."""
        del model
        weights = matrices(anatomy)
        if not self._resumed:
            self._masks, self._hidden = {}, {}  # a new round: what was hidden is gone
        for kept in (self._scores, self._masks, self._hidden):
            kept.update({name: value.detach().to(weights[name]) for name, value in kept.items()})
        for name, weight in weights.items():
            self._scores.setdefault(name, torch.zeros_like(weight))
            self._scores[name] = self._scores[name].detach().requires_grad_()
            if waits_cost(weight.device):
                self._masks.setdefault(name, torch.ones_like(weight))
                self._hidden.setdefault(name, torch.zeros_like(weight))
        self._resumed, self._run = False, run

        def before(_optimizer: torch.optim.Optimizer, _args: object, _kwargs: object) -> None:
            if self._hidden:
                with torch.no_grad():
                    torch._foreach_add_([weights[name] for name in self._hidden], list(self._hidden.values()))

        def after() -> None:
            self._steps += 1
            self._mask(weights, anatomy, run)

        with ExitStack() as stack:
            stack.callback(self._leave)
            scores = [self._scores[name] for name in weights]
            stack.enter_context(learned(optimizer, scores, learning_rate=self.score_learning_rate))
            for name, weight in weights.items():
                handle = weight.register_hook(self._through(name, weight))  # type: ignore[no-untyped-call]
                stack.callback(handle.remove)
            stack.callback(optimizer.register_step_pre_hook(before).remove)
            stack.enter_context(counting(optimizer, after))
            yield

    def _through(self, name: str, weight: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the hook on ∂L/∂W', which adds to ∂L/∂S and returns ∂L/∂W."""

        @torch.no_grad()
        def hook(gradient: Tensor) -> Tensor:
            score, hidden = self._scores[name], self._hidden.get(name)
            moved = gradient * weight
            if hidden is not None:
                moved.addcmul_(gradient, hidden)
            score.grad = moved if score.grad is None else score.grad.add_(moved)
            return gradient if hidden is None else gradient * self._masks[name]

        return hook

    @torch.no_grad()
    def _mask(self, weights: Matrices, anatomy: Anatomy, run: Run) -> None:
        if self.part <= 0.0:
            return
        stay = self.masks(self._scores, anatomy, run, self.part)
        whole = [weights[name] for name in stay]
        masks = [mask.to(weights[name].dtype) for name, mask in stay.items()]
        hidden = torch._foreach_addcmul(whole, whole, masks, value=-1.0)
        torch._foreach_mul_(whole, masks)
        for kept, found in ((self._masks, masks), (self._hidden, hidden)):
            if waits_cost(whole[0].device):
                torch._foreach_copy_([kept[name] for name in stay], found)
            else:
                kept.update(zip(stay, found, strict=True))

    def leaves(self) -> Sequence[Tensor]:
        """Return the scores, whose gradient a replayed pass writes."""
        return list(self._scores.values())

    def replay(self, run: Pass, batch: Batch) -> tuple[Tensor, ...]:
        """Add the gradient of the penalty, which follows a schedule, to that of the pass."""
        self.apart = True
        try:
            loss, _ = run(batch)
        finally:
            self.apart = False
        penalty = self.penalty(batch)
        if penalty.requires_grad:
            penalty.backward()  # type: ignore[no-untyped-call]
        return loss, penalty.detach()

    @property
    def part(self) -> float:
        """The part of the way that is done, on the cubic schedule.

        Raises:
            RuntimeError: outside watch.
        """
        if self._run is None:
            raise RuntimeError("Scores are learned inside watch; their schedule was read outside of it.")
        done = self._steps / max(self._run.total_steps, 1)
        return cubic(done, start=self.start_fraction, end=self.end_fraction)

    def _leave(self) -> None:
        self._run = None

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Return what was learned, without data.

        Raises:
            RuntimeError: before any watch.
        """
        del model, batches
        if not self._scores:
            raise RuntimeError("Scores are learned inside watch: there was none.")
        return self.ranked({name: self._scores[name].detach() for name in matrices(anatomy)})

    @abstractmethod
    def ranked(self, scores: Matrices) -> Matrices:
        """Return what the weights are ranked by, all matrices on one scale."""

    def state(self) -> dict[str, Tensor]:
        """Return steps, scores, masks, and the weights that masks hide."""
        found = {"steps": torch.tensor(self._steps)}
        found |= {f"mask/{name}": mask.bool() for name, mask in self._masks.items()}
        for what, kept in (("score", self._scores), ("hidden", self._hidden)):
            found |= {f"{what}/{name}": value.detach().clone() for name, value in kept.items()}
        return found

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._steps = int(state["steps"])
        for what, kept in (("score", self._scores), ("mask", self._masks), ("hidden", self._hidden)):
            prefix = f"{what}/"
            kept.clear()
            kept.update({n.removeprefix(prefix): v.clone() for n, v in state.items() if n.startswith(prefix)})
        self._resumed = bool(self._scores)
