"""Printing: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from pipeline.study.records import StudySpec

CLOSED_PIPE = 141  # exit code where the reader of our output has gone, as shells count SIGPIPE
NAME = re.compile(r"\{(\w+)\}")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
PIPE_WIDTH = 120  # columns of a table that is not printed on a terminal


class OutputLost(RuntimeError):  # noqa: N818 (a fact, not a fault of the program)
    """What is to be printed cannot be written: the disk is full, the file is gone."""


class Printer(Console):
    """Prints, and ends the program quietly where its reader has closed the pipe (`prunefront show | head`)."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, as `Console.print`.

        Raises:
            OutputLost: the output cannot be written.
        """
        try:
            super().print(*objects, **options)
        except OSError as error:
            raise OutputLost(error.strerror or str(error)) from error

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text, of a line or of a table's cell, without what a terminal would obey."""
        return super().render_str(plain(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Leave."""
        leave()


def plain(text: str) -> str:
    """Return a text whose control characters, but tabs and ends of lines, are replaced."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def leave() -> NoReturn:
    """End the program without a message where its output is no longer read."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or not of the system
            os.dup2(nothing, stream.fileno())
    raise SystemExit(CLOSED_PIPE)


# No text is read as markup or as names of emoji, in lines or in tables: names, paths and messages come from outside.
# What is styled is made by `styled`.
out = Printer(highlight=False, markup=False, emoji=False)
if not out.is_terminal:
    out.width = PIPE_WIDTH
err = Printer(stderr=True, highlight=False, markup=False, emoji=False)


def styled(markup: str, **values: object) -> Text:
    """Return text with markup of our own; the values that {names} in it stand for are text as they are."""
    text, found = Text.from_markup(markup, emoji=False), Text()
    end = 0
    for match in NAME.finditer(text.plain):
        value = Text(plain(str(values[match[1]])))
        for span in text[match.start() : match.end()].spans:
            value.stylize(span.style)
        found += text[end : match.start()] + value
        end = match.end()
    return found + text[end:]


def hint(label: str, command: str) -> None:
    """Print a command to copy. No line is broken in it by us: a shell would run its parts."""
    out.print(styled("{label}  [cyan]{command}[/]", label=label, command=command), soft_wrap=True)


def log(line: str) -> None:
    """Print a line of progress on stderr."""
    err.print(line, soft_wrap=True)


def errors(message: str) -> None:
    """Print one message on stderr."""
    err.print(message, style="red", soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout; numbers that JSON does not have (NaN, infinity) become null."""
    print_as_is(json.dumps(_plain(value), indent=2, allow_nan=False))


def print_as_is(text: str) -> None:
    """Print a text on stdout that no terminal's width may wrap: JSON, a manifest, a plot.

    Raises:
        OutputLost: it cannot be written.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        leave()
    except OSError as error:
        raise OutputLost(error.strerror or str(error)) from error


def identity(spec: StudySpec) -> dict[str, Any]:
    """Return the keys by which every JSON object says which study it is of."""
    return {
        "study": spec.name,
        "task": spec.task,
        "model": spec.model,
        "method": spec.method,
        "distill": spec.distill,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
