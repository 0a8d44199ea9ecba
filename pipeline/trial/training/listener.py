"""What a training loop reports between its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LoopState:
    """The state of a phase between two steps: all that resuming needs but the batches, which follow from the seed.

    Its tensors are the loop's own: they must be written before the next step.
    """

    step: int
    tensors: dict[str, Any]  # readable by torch.load(weights_only=True)


class Listener:
    """The loop's callbacks; these do nothing."""

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Handle the end of an epoch of the trial, or of the phase: mean losses and the method's report.

        The model may be used; it must be left in training mode.
        """

    def on_step(self, state: Callable[[], LoopState]) -> None:
        """Handle the end of a step; `state()` returns what a checkpoint needs."""
