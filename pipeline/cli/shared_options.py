"""The options of a dataclass as options of a command: what several commands share is written once, in the dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from pipeline.cli.completion import complete_choice
from pipeline.driver.search.option import OptionField, options_of

Command = Callable[..., None]


def with_options_of(*kinds: type) -> Callable[[Command], Command]:
    """Give a command all options of dataclasses; an instance of each becomes one of the command's first arguments.

    For Typer it is one function with the options of both.

    Args:
        kinds: dataclasses whose fields all have an `Option`.
    """
    fields_of = [(kind, options_of(kind)) for kind in kinds]
    shared = [field for _, own in fields_of for field in own]

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command).parameters.values())[len(kinds) :]
        hints = get_type_hints(command, include_extras=True)

        @wraps(command)
        def combined(**given: Any) -> None:  # typer calls by name
            requests = [
                kind(**{field.name: _value(field, given.pop(field.name)) for field in own})
                for kind, own in fields_of
            ]
            command(*requests, **given)

        parameters = [
            *(_parameter(field) for field in shared),
            *(each.replace(kind=each.KEYWORD_ONLY, annotation=hints[each.name]) for each in own),
        ]
        combined.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        combined.__annotations__ = {each.name: each.annotation for each in parameters}
        del combined.__wrapped__  # typer would read the bare command
        return combined

    return decorate


def _parameter(field: OptionField) -> inspect.Parameter:
    """Return the field as a parameter that typer reads."""
    option, default = field.option, field.default
    flags = (
        (field.flag, *option.also) if field.type is bool or option.also else ()
    )  # else typer would add --no-…
    info = typer.Option(
        *flags,
        help=option.help,
        rich_help_panel=option.panel,
        envvar=option.environment,
        autocompletion=complete_choice(option.choices) if option.choices else None,
    )
    kind = field.type
    if option.as_text:
        kind, default = str, str(default)
    if _repeated(field):
        kind, default = list[str] | None, None
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _value(field: OptionField, given: Any) -> Any:
    return tuple(given or ()) if _repeated(field) else given


def _repeated(field: OptionField) -> bool:
    return get_origin(field.type) is tuple
