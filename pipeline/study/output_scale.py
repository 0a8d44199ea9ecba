"""The scale of a network's outputs: values of hundreds are learned as deviations from their mean.

    value = scale · output + shift

A trial's network gives outputs; a network that a user brings or takes away gives values. The map is linear, so that
the last layer of the network holds it there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class OutputScale:
    """What turns outputs into values."""

    scale: float = 1.0
    shift: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether outputs are values."""
        return self == AS_IT_IS

    def without_shift(self) -> OutputScale:
        """Return the scale for a last layer that has no bias: the root mean square of values."""
        return OutputScale(math.hypot(self.scale, self.shift))


AS_IT_IS = OutputScale()
