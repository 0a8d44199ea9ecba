"""Where things are printed: results on stdout, all else on stderr."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console

PIPE_WIDTH = 120  # of tables that no terminal bounds

out = Console(highlight=False)
if not out.is_terminal:
    out.width = PIPE_WIDTH
err = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """A line of progress on stderr, as it is."""
    err.print(line, markup=False, soft_wrap=True)


def errors(message: str) -> None:
    """One message on stderr, as it is: no markup is read in it."""
    err.print(message, style="red", markup=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON does not have (NaN, infinity) become null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def percent(share: float) -> str:
    """0.5 -> 50.0 %; – for what has no value."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def millions(count: int) -> str:
    """1234567 -> 1.23 M."""
    return f"{count / 1e6:.2f} M"


def short(value: Any) -> str:
    """A parameter for a table: numbers to three digits; a threshold that nothing falls under is a dash."""
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
