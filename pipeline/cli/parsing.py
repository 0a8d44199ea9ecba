"""Commands as they are parsed and explained: the nearest of mistyped options, and help that fits the terminal."""

from __future__ import annotations

import copy
import shutil
from typing import Any

from rich.text import Text
from typer.core import TyperCommand

from pipeline.study.nearest import did_you_mean

NARROW = 80  # columns; below it help is without panels
INDENT = 4  # of an option's text there
GENERAL, LAST = ("quiet", "as_json", "help"), "General"  # options of every command, and their panel
PANEL = "rich_help_panel"


class Command(TyperCommand):
    """A command whose message about an unknown option names the nearest one first; typer's are sorted by name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            UsageError: of typer's, or click's, parser; its class is private, its fields are not.
        """
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if (name := getattr(error, "option_name", None)) and hasattr(error, "possibilities"):
                known = [flag for each in self.params for flag in each.opts if flag.startswith("--")]
                error.message = f"No such option: {name}.{did_you_mean(name, known)}"  # type: ignore[attr-defined]
                error.possibilities = None
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the command, in panels where there is room for them."""
        if shutil.get_terminal_size().columns < NARROW:
            narrow_help(self, ctx, formatter)
            return
        page = copy.copy(self)
        page.get_params = lambda ctx: explained(Command.get_params(self, ctx))  # type: ignore[method-assign]
        super(Command, page).format_help(ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, as help shows them."""
        return shown(super().get_params(ctx))


def shown(params: list[Any]) -> list[Any]:
    """Leave out the type of a flag, and show of a list the type of one: typer writes <bool> and <list[str]>."""
    for each in params:
        if getattr(each, "is_flag", False):
            each.display_type_rich = _of_a_flag
        elif getattr(each, "multiple", False) or each.nargs == -1:
            each.display_type_rich = _of_a_list
    return params


def explained(params: list[Any]) -> list[Any]:
    """Return copies of parameters for a page of help; options of every command come last where others are in panels.

    Rich cuts what it cannot wrap, and typer joins the names of an option without a space: here each has a line.
    """
    pages = [copy.copy(each) for each in params]
    panels = any(getattr(each, PANEL, None) for each in pages)
    for each in pages:
        if panels and each.name in GENERAL:
            each.rich_help_panel = LAST
        if each.param_type_name == "option":
            long = [name for name in (*each.opts, *each.secondary_opts) if name.startswith("--")]
            short = [name for name in (*each.opts, *each.secondary_opts) if name not in long]
            each.opts, each.secondary_opts = ["\n".join(long), *short], []
    return pages


def narrow_help(command: Command, ctx: Any, formatter: Any) -> None:
    """Write help as lines that are never cut: each option, and its text below it."""
    command.format_usage(ctx, formatter)
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for each in explained(command.get_params(ctx)):
        each.opts = [name for names in each.opts for name in names.split("\n")]
        each.help = _plain(each.help or "")
        panel = getattr(each, PANEL, None) or f"{each.param_type_name.title()}s"
        if record := each.get_help_record(ctx):
            sections.setdefault(panel, []).append(record)
    for paragraph in (command.help or "").split("\n\n"):
        formatter.write_paragraph()
        formatter.write_text(_plain(paragraph))
    for panel, rows in ((panel, rows) for panel, rows in sections.items() if rows):
        with formatter.section(panel):
            formatter.write_dl(rows, col_max=INDENT)
    for line in (command.epilog or "").split("\n\n"):
        formatter.write_paragraph()
        formatter.write_text(_plain(line))


def _plain(text: str) -> str:
    return Text.from_markup(text).plain


def _of_a_flag(**_: Any) -> str | None:
    return None


def _of_a_list(**_: Any) -> str | None:
    return "<str>"
