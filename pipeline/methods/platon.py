"""PLATON: Zhang, Zuo, Liang, Bukharin, He, Chen, Zhao, ICML 2022, arXiv 2206.12562.

The sensitivity |w ∂L/∂w| of a weight is smoothed over the steps, and so is how far each window's sensitivity lies
from that: its uncertainty. Their product ranks, so that weights are kept whose importance is high, or not yet known.

`platon` ranks single weights, as published; `platon-lifted` heads and neurons by the sum of their weights' scores.

Shapes: a score for each weight of the six matrices of a layer.

Deviations, each with its reason.
* Gradients are those of the clipped step; clipping changes all of a step's by one factor.
* AdamW in place of Adamax: one optimizer for all methods.
* `uncertainty = false` leaves the second factor out: smoothed sensitivity, a comparison the paper makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from pipeline.methods.base import Run
from pipeline.methods.bases.weighted import Lifted, Weighted, Zeroed
from pipeline.model.unstructured import Matrices


@dataclass
class SmoothedSensitivity(Weighted):
    """Ī ← β1 Ī + (1 - β1) I, U = |I - Ī|, Ū ← β2 Ū + (1 - β2) U, score Ī Ū.

    I is the mean of |w ∂L/∂w| over a window of `interval` steps.
    """

    beta_sensitivity: float  # β1
    beta_uncertainty: float  # β2
    uncertainty: bool
    _window: Matrices = field(default_factory=dict, init=False, repr=False)  # sums of |w ∂L/∂w|
    _sensitivity: Matrices = field(default_factory=dict, init=False, repr=False)  # Ī
    _uncertainty: Matrices = field(default_factory=dict, init=False, repr=False)  # Ū

    def begin(self, weights: Matrices, run: Run) -> None:
        """Start averages at zero, except in the rest of a round."""
        del run
        for kept in (self._window, self._sensitivity, self._uncertainty):
            for name, weight in weights.items():
                there = kept[name] if self._resumed else torch.zeros_like(weight)
                kept[name] = there.detach().to(weight.device)
            for name in kept.keys() - weights.keys():
                del kept[name]

    @torch.no_grad()
    def after_step(self, weights: Matrices, steps: int) -> None:
        """Add the step's sensitivity; a full window updates the averages."""
        for name, weight in weights.items():
            if weight.grad is not None:
                self._window[name] += (weight * weight.grad).abs()
            if steps % self.interval == 0:
                self._move(name)

    def _move(self, name: str) -> None:
        now = self._window[name] / self.interval
        smooth = self._sensitivity[name].lerp_(now, 1.0 - self.beta_sensitivity)
        self._uncertainty[name].lerp_((now - smooth).abs_(), 1.0 - self.beta_uncertainty)
        self._window[name].zero_()

    def scores_of_weights(self, weights: Matrices) -> Matrices:
        """Return Ī Ū, or Ī; |w| before the first window is full, as there is nothing better."""
        if self._steps < self.interval or not self._sensitivity:
            return {name: weight.detach().abs() for name, weight in weights.items()}
        if not self.uncertainty:
            return self._sensitivity
        return {name: value * self._uncertainty[name] for name, value in self._sensitivity.items()}

    def holds(self) -> bool:
        """Return False: masked weights may grow again until the end."""
        return False

    def kept(self) -> dict[str, Tensor]:
        """Return window, sensitivity and uncertainty."""
        return {
            f"{what}/{name}": value
            for what, kept in (("w", self._window), ("s", self._sensitivity), ("u", self._uncertainty))
            for name, value in kept.items()
        }

    def take(self, kept: dict[str, Tensor]) -> None:
        """Restore them."""
        for what, mine in (("w", self._window), ("s", self._sensitivity), ("u", self._uncertainty)):
            mine |= {name[2:]: value for name, value in kept.items() if name.startswith(f"{what}/")}


@final
@dataclass
class Platon(SmoothedSensitivity, Zeroed):
    """The weights of the whole network by their scores."""


@final
@dataclass
class PlatonLifted(SmoothedSensitivity, Lifted):
    """Units by the sum of their weights' scores."""
