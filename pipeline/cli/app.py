"""The table of commands, and their exit codes."""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Annotated

import typer

from pipeline.cli.commands import Group
from pipeline.cli.interruption import INTERRUPTED, Signals, interrupted
from pipeline.cli.lists import LISTS, spread
from pipeline.cli.output import CLOSED_PIPE, OutputLost, errors, out
from pipeline.cli.passwords import refuse_passwords
from pipeline.cli.without_pandas import spare_pandas

DONE, FAILURE, BAD_INPUT = 0, 1, 2

app = typer.Typer(
    name="prunefront",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    """Print the versions and what computes, and leave."""
    if asked:
        from pipeline.cli.version import versions

        for name, value in versions().items():
            out.print(f"{name} {value}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Versions and hardware.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Find how small and fast a fine-tuned encoder can get, and what that costs in accuracy."""


def _with_lists(arguments: list[str]) -> list[str]:
    """Return the arguments with the lists of `sweep` and `fit-pruner` as their parser reads them."""
    lists = LISTS.get(arguments[0] if arguments else "")
    return arguments if lists is None else spread(arguments, lists)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with 0 done, 1 failure, 2 bad input or 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal of ASCII or latin-1 shows ? for other characters
            stream.reconfigure(errors="replace")
    spare_pandas(given)
    signals = Signals(given)
    try:
        code = run(given, typed=True)
        signals.command_ended(code)
    except KeyboardInterrupt:  # before typer's own handling, or after it
        code = interrupted(given)
        signals.command_ended(code)
    sys.exit(code)


def run(arguments: list[str], *, typed: bool = False) -> int:
    """Run a command and return its exit code; an error is one message on stderr.

    Args:
        arguments: of the command.
        typed: whether they are this process's command line.
    """
    try:
        if typed:
            refuse_passwords(arguments)
        app(args=_with_lists(arguments), prog_name="prunefront")
    except SystemExit as leave:  # raised by typer: usage errors are 2, Ctrl-C is 130
        if isinstance(leave.__context__, BrokenPipeError):  # a help page that is not read to its end
            return CLOSED_PIPE
        code = leave.code if isinstance(leave.code, int) else FAILURE
        if code == INTERRUPTED:
            interrupted(arguments)
        return code
    except Exception as error:
        return _failed(error)
    return DONE


def _failed(error: Exception) -> int:
    """Print an error as one message, and return its exit code."""
    from pipeline.cli.outside_errors import outside_cause
    from pipeline.study.records import BadInput

    if isinstance(error, BadInput):
        errors(str(error))
        return BAD_INPUT
    if isinstance(error, OutputLost):
        errors(f"The output cannot be written: {error}. What was found is in the store.")
        return FAILURE
    if (known := outside_cause(error)) is not None:
        errors(known)
        return FAILURE
    if os.environ.get("PRUNEFRONT_DEBUG"):
        traceback.print_exception(error)
    errors(
        f"{type(error).__name__}: {error}\nThis is a fault of prunefront, not of what you typed. "
        "PRUNEFRONT_DEBUG=1 before the command shows where; what was found so far is kept."
    )
    return FAILURE
