"""Printing: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console

PIPE_WIDTH = 120  # columns of a table that is not printed on a terminal

out = Console(highlight=False)
if not out.is_terminal:
    out.width = PIPE_WIDTH
err = Console(stderr=True, highlight=False)


def log(line: str) -> None:
    """Print a line of progress on stderr, without reading markup in it."""
    err.print(line, markup=False, soft_wrap=True)


def errors(message: str) -> None:
    """Print one message on stderr, without reading markup in it."""
    err.print(message, style="red", markup=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout; numbers that JSON does not have (NaN, infinity) become null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
