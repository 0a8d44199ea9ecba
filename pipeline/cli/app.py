"""The table of commands, and their exit codes."""

from __future__ import annotations

import inspect
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from pipeline.cli.best import best
from pipeline.cli.cluster import cluster
from pipeline.cli.compare import compare
from pipeline.cli.confirm import confirm
from pipeline.cli.dashboard import dashboard
from pipeline.cli.examples import epilog
from pipeline.cli.export import export
from pipeline.cli.finite import only_finite
from pipeline.cli.fit_pruner import fit_pruner
from pipeline.cli.init import init
from pipeline.cli.interruption import INTERRUPTED, goes_on, interruptible
from pipeline.cli.methods import methods
from pipeline.cli.output import OutputLost, errors, out
from pipeline.cli.outside_errors import outside_cause
from pipeline.cli.parsing import Command, Group
from pipeline.cli.passwords import refuse_passwords
from pipeline.cli.plan import plan
from pipeline.cli.report import report
from pipeline.cli.search import search
from pipeline.cli.show import show
from pipeline.cli.studies import studies
from pipeline.cli.sweep import LISTS, spread, sweep
from pipeline.cli.version import versions
from pipeline.study.records import BadInput

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


def _add(command: Callable[..., None], name: str | None = None) -> None:
    """Add a command, its help flowed to the terminal's width and ending with examples."""
    name = name or command.__name__
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    app.command(name, cls=Command, help=text, epilog=epilog(name))(only_finite(command))


for _command in (
    search,
    sweep,
    init,
    methods,
    plan,
    cluster,
    show,
    best,
    confirm,
    compare,
    report,
    dashboard,
    studies,
    export,
):
    _add(_command)
_add(fit_pruner, "fit-pruner")


def _with_lists(arguments: list[str]) -> list[str]:
    """Return the arguments with the lists of `sweep` and `fit-pruner` as their parser reads them."""
    lists = {"sweep": LISTS, "fit-pruner": ("--tasks",)}.get(arguments[0] if arguments else "")
    return arguments if lists is None else spread(arguments, lists)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with 0 done, 1 failure, 2 bad input or 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal of ASCII or latin-1 shows ? for other characters
            stream.reconfigure(errors="replace")
    with interruptible(given):
        try:
            code = run(given, typed=True)
        except KeyboardInterrupt:  # before typer's own handling, or after it
            errors(goes_on(given))
            code = INTERRUPTED
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
        code = leave.code if isinstance(leave.code, int) else FAILURE
        if code == INTERRUPTED:
            errors(goes_on(arguments))
        return code
    except BadInput as error:
        errors(str(error))
        return BAD_INPUT
    except OutputLost as error:
        errors(f"The output cannot be written: {error}. What was found is in the store.")
        return FAILURE
    except Exception as error:
        if (known := outside_cause(error)) is not None:
            errors(known)
            return FAILURE
        if os.environ.get("PRUNEFRONT_DEBUG"):
            traceback.print_exc()
        errors(
            f"{type(error).__name__}: {error}\nThis is a fault of prunefront, not of what you typed. "
            "PRUNEFRONT_DEBUG=1 before the command shows where; what was found so far is kept."
        )
        return FAILURE
    return DONE
