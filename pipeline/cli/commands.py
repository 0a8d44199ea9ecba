"""The table of commands; the module of one is imported when it is asked for, so that `--help` imports none."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from typer.core import TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from pipeline.cli.parsing import Command, shown


class Entry(NamedTuple):
    """A command: where it is, and the first paragraph of its help, which a test compares."""

    place: str  # MODULE:FUNCTION, below pipeline.cli
    summary: str


TABLE = {
    "search": Entry(
        "search:search",
        "Search the settings of a pruning method for the front of a task's metric against compression.",
    ),
    "sweep": Entry(
        "sweep:sweep",
        "Run many studies on one Ray: tasks × models × methods × seeds; then compare them, and write a page.",
    ),
    "init": Entry(
        "init:init",
        "Write a task file that explains itself, from a file of rows or a folder of images.",
    ),
    "methods": Entry(
        "methods:methods",
        "List the pruning methods: what each ranks, when it acts, whether its defaults were tuned here, its paper.",
    ),
    "plan": Entry(
        "plan:plan",
        "Estimate the cost of a search: time, epochs, GPU-hours, disk, memory, and how many trials fit.",
    ),
    "cluster": Entry(
        "cluster:cluster",
        "Print what launches a search on a cluster: a command, a manifest, or the image that they need.",
    ),
    "show": Entry("show:show", "Show a study's front: a table, and a plot in the terminal."),
    "best": Entry(
        "best:best", "Show one point of a front, with its penalty, threshold and spectral settings."
    ),
    "confirm": Entry(
        "confirm:confirm", "Train points of a front again on fresh seeds and measure them on test rows."
    ),
    "compare": Entry("compare:compare", "Compare studies, and test which differences are significant."),
    "report": Entry(
        "report:report",
        "Write studies as one page that needs no network: fronts, networks, trials, settings, provenance.",
    ),
    "dashboard": Entry(
        "dashboard:dashboard",
        "Serve the report of studies while they run, on this machine alone; the page follows the search.",
    ),
    "studies": Entry("studies:studies", "List the studies of a store."),
    "export": Entry(
        "export:export",
        "Write one network of a front as a folder that transformers loads, and measure it on the test rows.",
    ),
    "fit-pruner": Entry(
        "fit_pruner:fit_pruner",
        "Fit the pruner that ranks heads for `search --method smp`: once per base model, for all tasks.",
    ),
}


class Commands(Mapping[str, Any]):
    """The commands by name, each made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(TABLE)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name)
        return self._made[name]


class Group(TyperGroup):
    """All commands; its help shows their summaries and makes none of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]
        self._listing = False

    def list_commands(self, _: Any) -> list[str]:
        """Return the names in the order of the table."""
        return list(TABLE)

    def get_command(self, _: Any, cmd_name: str) -> Any:
        """Return a command; for a list of all, no more than its summary."""
        if cmd_name not in TABLE:
            return None
        if self._listing:
            return Command(cmd_name, help=TABLE[cmd_name].summary)
        return self.commands[cmd_name]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the program."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, as help shows them."""
        return shown(super().get_params(ctx))


def _make(name: str) -> Any:
    """Make a command, its help flowed to the terminal's width and ending with examples."""
    from pipeline.cli.examples import epilog
    from pipeline.cli.finite import only_finite

    module, _, function = TABLE[name].place.partition(":")
    command = getattr(import_module(f"pipeline.cli.{module}"), function)
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    info = CommandInfo(name=name, cls=Command, help=text, epilog=epilog(name), callback=only_finite(command))
    return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")
