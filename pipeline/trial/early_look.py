"""A dense network early in its training: whether its learning rate is so poor that it need not go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.trial.inputs import TrialInputs
from pipeline.trial.training.listener import Listener

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Ours: of what the best rate has gained over the constant by then; below it a rate is given up. On the built-in
# text 4e-3 has gained nothing after an epoch, and half the best rate 0.9 of it (docs/log.md).
POOR = 0.75
EARLY = 0.2  # of the epochs, in whole ones: an epoch of six, six of thirty
# Of what a network gains in the end: one that had less early on says nothing of others by that (a ViT from nothing).
LEARNED = 0.5


class PoorRate(Exception):  # noqa: N818 (what was found, not a fault)
    """Early in its training a network is far behind one of another learning rate."""


class EarlyLook(Listener):
    """Measures a network once, early in its training, and ends that if its learning rate is poor."""

    def __init__(
        self, inputs: TrialInputs, best: float | None, model: PreTrainedModel, *, epochs: float
    ) -> None:
        """Watch the training of `model` over `epochs`; `best` is what another rate had at its own look."""
        self._inputs, self._best, self._model = inputs, best, model
        self._constant = inputs.kind.constant(inputs.data.validation)
        self.at = max(1, int(EARLY * epochs))
        self.metric: float | None = None

    def on_epoch(self, epoch: float, _: dict[str, float]) -> None:
        """Measure it at its look.

        Raises:
            PoorRate: it is far behind, or its metric is no number.
        """
        if self.metric is not None or epoch < self.at:
            return
        self.metric = self._inputs.evaluate(self._model).metrics["metric"]
        if self._best is None:
            return
        if not self.metric - self._constant >= POOR * (self._best - self._constant):  # NaN is neither
            raise PoorRate

    def comparable(self, final: float) -> float | None:
        """Return what it had at its look, if others can be compared with that; `final`: its metric in the end.

        Not if that was no number, or no better than a constant prediction, of which others would have to have more.
        """
        if self.metric is None or not self.metric > self._constant:
            return None
        return None if self.metric - self._constant < LEARNED * (final - self._constant) else self.metric
