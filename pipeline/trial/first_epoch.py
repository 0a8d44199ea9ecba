"""A dense network after its first epoch: whether its learning rate is so poor that it need not go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.trial.inputs import TrialInputs
from pipeline.trial.training.listener import Listener

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Ours: of what the best rate has gained over the constant after an epoch; below it a rate is given up. On the built-in
# task 4e-3 has gained nothing then, and half the best rate 0.9 of it (docs/log.md).
POOR = 0.75


class PoorRate(Exception):  # noqa: N818 (what was found, not a fault)
    """After an epoch the learning rate is far behind another one."""


class FirstEpoch(Listener):
    """Measures a network after one epoch, and ends its training if its learning rate is poor."""

    def __init__(self, inputs: TrialInputs, best: float | None, model: PreTrainedModel) -> None:
        """Watch the training of `model`; `best` is what another rate had after its first epoch."""
        self._inputs, self._best, self._model = inputs, best, model
        self.metric: float | None = None

    def on_epoch(self, epoch: float, _: dict[str, float]) -> None:
        """Measure it after the first epoch.

        Raises:
            PoorRate: it is far behind.
        """
        if self.metric is not None or epoch < 1:
            return
        self.metric = self._inputs.evaluate(self._model).metrics["metric"]
        constant = self._inputs.kind.constant(self._inputs.data.validation)
        if self._best is not None and self.metric - constant < POOR * (self._best - constant):
            raise PoorRate
