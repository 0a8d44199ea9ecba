"""How numbers are written in tables, pages and figures."""

from __future__ import annotations

import math

MISSING = "–"
# What a normalised hypervolume means.
VOLUME = "1: the dense metric kept down to an empty encoder; more where cut networks beat the dense one"


def short(value: object) -> str:
    """Return a setting or a number with three digits; a dash for None, NaN and an infinite threshold."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def percent(share: float) -> str:
    """Return a share as a percentage, 0.5 as "50.0 %"; a dash for NaN."""
    return MISSING if math.isnan(share) else f"{100 * share:.1f} %"


def volume(value: float) -> str:
    """Return a normalised hypervolume with three digits; a dash where the dense network is no better than a constant.

    It is no share: 1 is the dense metric kept down to an empty encoder, and networks that beat the dense one add to it.
    """
    return MISSING if math.isnan(value) else f"{value:.3f}"


def mb(size: float) -> str:
    """Return a size in MB, 12.34 as "12.3" and 0.034 as "0.03"."""
    return f"{size:.1f}" if size >= 1 else f"{size:.2f}"


def millions(count: int) -> str:
    """Return a count in millions, 1234567 as "1.23 M"."""
    return f"{count / 1e6:.2f} M"


def ends(low: float, high: float) -> str:
    """Return the ends of an interval; a dash if it has none."""
    return f"{low:+.4f} to {high:+.4f}" if math.isfinite(low) else MISSING


def megabytes(count: int) -> str:
    """Return a number of bytes in MB of 10^6 bytes, 1234567 as "1.2 MB"."""
    return f"{mb(count / 1e6)} MB"


def milliseconds(value: float) -> str:
    """Return a time with three digits, 1.2345 as "1.23 ms"; none of them after the point from 100 on."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(digits, 0)}f} ms"
