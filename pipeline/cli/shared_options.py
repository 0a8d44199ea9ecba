"""One command's options in another one: what several commands ask for alike is written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Wanted = TypeVar("Wanted")
Command = Callable[..., None]


def with_options_of(ask: Callable[..., Wanted]) -> Callable[[Command], Command]:
    """Gives a command all options of `ask`, whose result becomes the command's first argument.

    Both are functions as typer takes them, every parameter with its annotation. Typer sees one function with the
    options of both.
    """

    def dress(command: Command) -> Command:
        first, *own = _parameters(command)
        shared = _parameters(ask)
        names = {parameter.name for parameter in shared}

        @wraps(command)
        def dressed(**given: Any) -> None:  # typer is the door: it calls by name
            asked = ask(**{name: value for name, value in given.items() if name in names})
            command(asked, **{name: value for name, value in given.items() if name not in names})

        either = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*shared, *own)]
        dressed.__signature__ = inspect.Signature(either)  # type: ignore[attr-defined]
        dressed.__annotations__ = {parameter.name: parameter.annotation for parameter in either}
        del dressed.__wrapped__  # typer would look at the bare command
        del first
        return dressed

    return dress


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """With annotations as objects; what is only known to type checkers (`wanted`, what is returned) stays a text."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        annotation = parameter.annotation
        if isinstance(annotation, str) and "Annotated" in annotation:
            annotation = eval(annotation, function.__globals__)
        found.append(parameter.replace(annotation=annotation))
    return found
