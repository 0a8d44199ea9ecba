"""A listener of the training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.trial.training.loop import LoopState


@dataclass
class Ears:
    """A listener that remembers epochs, and states at the steps that are asked for."""

    at: tuple[int, ...] = ()
    epochs: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    states: dict[int, LoopState] = field(default_factory=dict)
    steps: int = 0

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        self.epochs.append((epoch, values))

    def on_step(self, state: Callable[[], LoopState]) -> None:
        self.steps += 1
        if self.steps in self.at:
            self.states[self.steps] = copy.deepcopy(state())
