"""The metadata of a dataclass field that is also an option of a command: help text, panel, environment variable.

The dataclass is the only place where its options are written. The command line, Python and the manifests of a cluster
all read them by `options_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Option:
    """What `--help` shows of a field, as its `typing.Annotated` metadata."""

    help: str
    panel: str
    environment: str | None = None  # variable that is read where the option is not given
    as_text: bool = False  # the command passes the text as it was typed, and the dataclass reads it
    also: tuple[str, ...] = ()  # other names of the option
    choices: tuple[str, ...] = ()  # all values that it can have; empty: not listed


@dataclass(frozen=True)
class OptionField:
    """A field of a dataclass with its option."""

    name: str
    type: Any  # without the metadata
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """The option as it is typed, such as --gpu-hours."""
        return f"--{self.name.replace('_', '-')}"


def options_of(kind: type) -> tuple[OptionField, ...]:
    """Return the options of a dataclass, in the order of its fields.

    Raises:
        TypeError: a field has no `Option`.
    """
    plain, annotated = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    found = []
    for field in fields(kind):
        metadata = getattr(annotated[field.name], "__metadata__", ())
        options = [each for each in metadata if isinstance(each, Option)]
        if len(options) != 1:
            raise TypeError(f"{kind.__name__}.{field.name} has {len(options)} options; every field has one.")
        found.append(OptionField(field.name, plain[field.name], field.default, options[0]))
    return tuple(found)
