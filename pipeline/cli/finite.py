"""Numbers on the command line are finite: nan passes every comparison, and inf every upper bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pipeline.study.records import BadInput

Options = ParamSpec("Options")
Result = TypeVar("Result")


def only_finite(command: Callable[Options, Result]) -> Callable[Options, Result]:
    """Return a command that refuses nan and inf for each of its options.

    Raises:
        BadInput: a number is none; the message names its option.
    """

    @wraps(command)
    def checked(*args: Options.args, **options: Options.kwargs) -> Result:
        for name, value in options.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise BadInput(f"--{name.replace('_', '-')} is {value}. Give a finite number.")
        return command(*args, **options)

    return checked
