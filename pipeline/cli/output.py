"""Printing: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

PIPE_WIDTH = 120  # columns of a table that is not printed on a terminal

# No text is read as markup or as names of emoji, in lines or in tables: names, paths and messages come from outside.
# What is styled is made by `styled`.
out = Console(highlight=False, markup=False, emoji=False)
if not out.is_terminal:
    out.width = PIPE_WIDTH
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


def styled(markup: str, **values: object) -> Text:
    """Return text with markup of our own; the values that {names} in it stand for are text as they are."""
    return Text.from_markup(
        markup.format(**{name: escape(str(value)) for name, value in values.items()}), emoji=False
    )


def log(line: str) -> None:
    """Print a line of progress on stderr."""
    err.print(line, soft_wrap=True)


def errors(message: str) -> None:
    """Print one message on stderr."""
    err.print(message, style="red", soft_wrap=True)


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
