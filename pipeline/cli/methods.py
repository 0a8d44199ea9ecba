"""The command `prunefront methods`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.called import called
from pipeline.cli.columns import Column, print_table
from pipeline.cli.completion import complete_method
from pipeline.cli.output import hint, out, print_json, styled

if TYPE_CHECKING:
    from pipeline.methods.registry import MethodFacts

COLUMNS = (
    Column("method", right=False),
    Column("ranks", 2, right=False),
    Column("acts", 3, right=False),
    Column("defaults", 4, right=False),
    Column("source", 5, right=False, shortens=True),
)


def methods(
    name: Annotated[
        str | None, typer.Argument(help="One method, whole.", autocompletion=complete_method)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List the pruning methods: what each ranks, when it acts, whether its defaults were tuned here, its paper."""
    from pipeline.methods.registry import METHODS, facts_of

    found = [facts_of(each) for each in (METHODS if name is None else [name])]
    if as_json:
        print_json(asdict(found[0]) if name is not None else {"methods": [asdict(each) for each in found]})
    elif name is None:
        print_table(COLUMNS, [_row(each) for each in found])
        hint("\nOne of them:", f"{called()} methods snip")
    else:
        _print(found[0])


def _row(facts: MethodFacts) -> tuple[str, ...]:
    return (
        facts.name,
        facts.ranks,
        _acts(facts),
        "tuned here" if facts.tuned else "not tuned here",
        facts.source,
    )


def _acts(facts: MethodFacts) -> str:
    if facts.needs_fit:
        return "after a fit per model"
    return "while it trains" if facts.trains else "on the trained network"


def _print(facts: MethodFacts) -> None:
    from pipeline.study.space import load_space

    out.print(
        styled(
            "[bold]{name}[/]  ranks {ranks}, acts {acts}",
            name=facts.name,
            ranks=facts.ranks,
            acts=_acts(facts),
        )
    )
    out.print(f"\n{facts.about}\n", soft_wrap=True)
    space = load_space(facts.name, file=None, pretrained=True)
    searched = sorted(space.distributions())
    out.print(f"Searched: {', '.join(searched)}.", soft_wrap=True)
    tuned = "were tuned here" if facts.tuned else "are its paper's, or guesses: they were not tuned here"
    out.print(
        f"Its defaults {tuned}. Ranges and their sources: search_spaces/{facts.name}.toml.", soft_wrap=True
    )
    hint("\nSearch with it:", f"{called()} search --data reviews.csv --method {facts.name}")
