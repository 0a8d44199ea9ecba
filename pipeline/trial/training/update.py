"""The optimizer's part of a step, and the form of it that a CUDA graph can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.trial.training.phases import Phase, schedule
from pipeline.trial.training.recipe import Recipe

Around = Callable[[torch.optim.Optimizer], AbstractContextManager[None]]
OWN = ("lr", "capturable")  # of a group of parameters: how this process makes its steps, not what it learned
NO_DIVISION = 1e-6  # added to a norm that is divided by, as in `torch.nn.utils.clip_grad_norm_`


@dataclass(frozen=True)
class Rates:
    """The learning rates of a phase's steps: parts of the initial ones, by a schedule."""

    phase: Phase
    recipe: Recipe

    def set(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set those of a step; a rate that is a tensor keeps its place."""
        for group in optimizer.param_groups:
            rate = group["initial_lr"] * self._factor(step)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def kept(self, step: int) -> float:
        """Return what weight decay leaves of a weight of the network in a step."""
        return 1 - self.recipe.learning_rate * self._factor(step) * self.recipe.weight_decay

    def _factor(self, step: int) -> float:
        return schedule(step, steps=self.phase.steps, warmup_fraction=self.recipe.warmup_fraction)


def make_capturable(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Make learning rates tensors, so that a graph can hold the optimizer's steps; return whether it can.

    Not where something is called around each step: it may read a schedule, and the host's part of it is not replayed.
    """
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return False
    for group in optimizer.param_groups:
        group |= {"lr": torch.tensor(group["lr"], device=device), "capturable": True}
    return True


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore moments and steps; learning rates stay what they are here, numbers or tensors."""
    own = [{key: group[key] for key in OWN} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group |= kept


def clipped_step(
    optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], clip_norm: float
) -> Tensor:
    """Make a step of gradients clipped to a norm, from tensors alone, and drop them; return their norm [] before.

    Fused AdamW divides by `grad_scale` as it reads a gradient: no pass over all of them is made for clipping.
    """
    norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None], foreach=True)
    fused: Any = optimizer
    fused.grad_scale = ((norm + NO_DIVISION) / clip_norm).clamp_min(1.0)
    try:
        optimizer.step()
    finally:
        del fused.grad_scale
    optimizer.zero_grad(set_to_none=True)
    return norm
