"""Colours for numbers, dark = small; colours that let others through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# After cividis of Nuñez, Anderton and Renslow (PLOS ONE 13, 2018), without its light end, which vanishes on white, and
# with its dark end lifted: lines show on a dark page, too.
SCALE = ("#3B6AA0", "#5F7396", "#7F7F8C", "#9F8F7E", "#C0A86A", "#DDC34F")


def shades(values: Sequence[Any], *, log: bool = True) -> list[str]:
    """Return a colour of SCALE for each value; the darkest for values that are no numbers."""
    numbers = np.array([float(v) if isinstance(v, int | float) else math.nan for v in values])
    scaled = np.log(np.where(numbers > 0, numbers, math.nan)) if log else numbers
    known = scaled[np.isfinite(scaled)]
    if not len(known) or np.ptp(known) == 0:
        return [SCALE[0]] * len(values)
    share = np.nan_to_num((scaled - known.min()) / np.ptp(known))
    return [_mix(float(at) * (len(SCALE) - 1)) for at in share]


def transparent(colour: str, opacity: float) -> str:
    """Return a colour (#RRGGBB) with an opacity, as plotly's rgba."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _mix(position: float) -> str:
    start = min(int(position), len(SCALE) - 2)
    part = position - start
    ends = [[int(SCALE[at][i : i + 2], 16) for i in (1, 3, 5)] for at in (start, start + 1)]
    return "#" + "".join(f"{round(a + part * (b - a)):02X}" for a, b in zip(*ends, strict=True))
