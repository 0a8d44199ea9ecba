"""The losses of a phase, summed on the device and read between steps; what ends a training early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from pipeline.task.batches import Split
from pipeline.task.kinds import Kind
from pipeline.trial.training.phases import Phase

if TYPE_CHECKING:
    from pipeline.trial.training.precision import LossScale

CHECK_STEPS = 50
DIVERGED = 10.0  # times the loss of an untrained network, mean over CHECK_STEPS or the rest of an epoch
# Outputs of a new head are some tenths, not 0: of values that are much smaller their squares are all of the loss.
LEAST_UNTRAINED = 0.1
# A network at chance after the cut mostly stays there, however long it trains: recovery ends if the loss is
# not below that of the constant prediction after this part of it (the mean over the later half of that part).
CHANCE_PART = 0.25
CHANCE_LEAST_STEPS = 100
CHANCE_MARGIN = 0.995


class TrainingFailed(RuntimeError):  # noqa: N818 (a fact about a trial, not a fault of the program)
    """The loss or its gradient is no number, or the loss is far above that of an untrained network."""


class AtChance(RuntimeError):  # noqa: N818 (a fact about a trial)
    """Recovery has not brought the loss below that of a constant prediction."""


# Rows of the sums: since the last epoch, the last check, and the start of the window for AtChance.
_EPOCH, _CHECK, _CHANCE = range(3)


@final
class LossChecks:
    """Sums of task loss, penalty, gradient norm, steps, and of a distillation's loss if there is one."""

    def __init__(
        self, kind: Kind, train: Split, phase: Phase, device: torch.device, *, distils: bool
    ) -> None:
        self.sums = torch.zeros(3, 5 if distils else 4, device=device)
        self.recent: float | None = None  # mean task loss before the last check
        self._kind, self._train, self._phase = kind, train, phase
        self._one = torch.ones((), device=device)

    def add(self, found: Sequence[Tensor], norm: Tensor) -> None:
        """Add a step's task loss, penalty, and distillation loss if any, and the norm of its gradient."""
        loss, penalty, *learned = found
        self.sums += torch.stack([loss, penalty, norm, self._one, *learned])

    def epoch(self) -> list[float]:
        """Return the means since the last epoch: of task loss, penalty, gradient norm, distillation loss if any."""
        return self._read(_EPOCH)

    def check_loss(self, scale: LossScale) -> None:
        """Read the losses since the last check.

        Raises:
            TrainingFailed: one is no number, or their mean diverged.
        """
        loss, _, norm, *_ = self._read(_CHECK)
        self.recent = loss
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingFailed("the loss is not a number any more: learning rate or penalty are too high")
        untrained = max(self._kind.untrained_loss(self._train), LEAST_UNTRAINED)
        if scale.lost():
            raise TrainingFailed("the gradient is no number in fp16 at any scale: --precision fp32 may help")
        if loss > DIVERGED * untrained:
            raise TrainingFailed(f"the loss diverged: {loss:.3g}; an untrained network has {untrained:.3g}")

    def check_chance(self, done: int) -> None:
        """Look after `done` steps, if they are those after which recovery should have got somewhere.

        Raises:
            AtChance: it has not.
        """
        steps = self._phase.steps
        part = max(CHANCE_LEAST_STEPS, math.ceil(CHANCE_PART * steps))
        if self._phase.name != "recover" or part >= steps:
            return
        if done == part // 2:
            self.sums[_CHANCE].zero_()
        elif done == part:
            loss, *_ = self._read(_CHANCE)
            constant = self._kind.constant_loss(self._train)
            if loss > CHANCE_MARGIN * constant:
                raise AtChance(
                    f"at chance after the cut: loss {loss:.3f} after {done} steps of recovery, "
                    f"a constant prediction has {constant:.3f}"
                )

    def _read(self, row: int) -> list[float]:
        loss, penalty, norm, steps, *learned = self.sums[row].tolist()
        self.sums[row].zero_()
        return [value / steps for value in (loss, penalty, norm, *learned)]
