"""Compressions one after the other, each with the same share less than the one before."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

SMALLEST = 1e-3  # part of the encoder that a ladder may end with


def next_on_ladder(now: float, *, end: float, left: int, include: float | None = None) -> float:
    """Return the compression of a ladder's next network: each of those left removes the same share of what is there.

    Args:
        now: compression of the network at hand.
        end: of the last network.
        left: how many networks are still to come, 1 or more.
        include: a compression to stop at on the way, in place of the network that is nearest to it.
    """
    if now >= end:
        return end
    step = math.pow((1.0 - now) / max(1.0 - end, SMALLEST), 1.0 / left)  # what was there / what is left
    if include is not None and now < include < 1.0 - (1.0 - now) / math.pow(step, 1.5):
        return include
    return 1.0 - (1.0 - now) / step


def trained_steps(compressions: Sequence[float], *, count: int, end: float) -> tuple[int, ...]:
    """Return the places of up to `count` networks, each with the same share less than the one before, up to `end`.

    Args:
        compressions: of nested networks, rising, the first one that of the network itself.
        count: of networks, 1 or more.
        end: compression of the last.
    """
    if len(compressions) == 1:  # nothing can go
        return (0,)
    there = 1.0 - compressions[0]
    left = max(1.0 - end, SMALLEST) / there
    wanted = [1.0 - there * math.pow(min(left, 1.0), (step + 1) / count) for step in range(count)]
    smaller = np.array(compressions[1:])
    return tuple(sorted({1 + int(np.abs(smaller - each).argmin()) for each in wanted}))
