"""Knowledge distillation: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.

A smaller network learns the larger one's outputs, softened by a temperature, beside the labels. Here the larger one
is the study's dense network, and the smaller one the network of a trial. The outputs of a regression are values: their
mean squared difference replaces the loss on soft targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from pipeline.trial.distillation.base import Distillation


@final
@dataclass
class Kd(Distillation):
    """Soft targets."""

    def takes_snapshots(self) -> bool:
        """Return False."""
        return False
