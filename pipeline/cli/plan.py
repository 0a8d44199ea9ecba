"""The command `prunefront plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.cli.output import out, print_json, styled
from pipeline.cli.shared_options import with_options_of
from pipeline.driver.search.request import Search

if TYPE_CHECKING:
    from pipeline.driver.plan import Number, Price

_ROWS = {
    "epochs_per_trial": "epochs per trial",
    "epochs": "epochs, dense networks included",
    "minutes_per_trial": "time per trial",
    "dense_minutes": "time of the dense networks",
    "minutes": "time of the search",
    "gpu_hours": "GPU-hours of trials",
    "memory_mb": "memory of a trial, at its peak",
    "gpu_memory_mb": "GPU memory of a trial, at its peak",
    "checkpoints_mb": "disk for checkpoints, the most at once",
    "front_mb": "disk for weights",
    "fit_minutes": "trials that fit into --minutes",
    "fit_gpu_hours": "trials that fit into --gpu-hours",
}


@with_options_of(Search)
def plan(
    request: Search,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout: the price.")] = False,
) -> None:
    """Estimate the cost of a search: time, epochs, GPU-hours, disk, memory, and how many trials fit.

    Takes the options of `search`. The estimate comes from an earlier study of the same task, model and method in the
    store, or else from a short trial that is run and timed. Nothing is left in the store.
    """
    from pipeline.driver.search.early import check_early

    check_early(request)  # before torch is imported
    from pipeline.cli.progress import watch
    from pipeline.driver.plan import plan as price_of

    with watch(quiet=quiet) as watcher:
        price = price_of(request, watcher)
    if as_json:
        print_json(asdict(price))
    else:
        _print(price)


def _print(price: Price) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for column in ("typical", "5 %", "95 %"):
        table.add_column(column, justify="right")
    table.add_column("from", style="dim")
    for name, words in _ROWS.items():
        number: Number | None = getattr(price, name)
        if number is not None:
            values = (number.typical, number.low, number.high)
            table.add_row(words, *(_shown(value, number.unit) for value in values), number.source)
    out.print(
        styled(
            "[bold]{study}[/]: {trials} trials, {concurrent} at a time",
            study=price.study,
            trials=price.trials,
            concurrent=price.concurrent,
        )
    )
    out.print(table)
    if price.memory_mb is None:
        out.print(f"{price.source} has no record of the memory of its trials.", style="dim")


def _shown(value: float, unit: str) -> str:
    """Return a number with its unit, to three digits; minutes as seconds, minutes or hours."""
    if unit == "min":
        seconds = 60 * value
        if seconds < 60:
            return f"{seconds:.3g} s"
        whole = round(seconds)
        return (
            f"{whole // 60}:{whole % 60:02d} min"
            if whole < 3600
            else f"{whole // 3600}:{whole % 3600 // 60:02d} h"
        )
    if unit in ("MB", "trials"):
        return f"{value:,.0f} {unit}".removesuffix(" trials")
    return f"{value:.3g} {unit}".removesuffix(" epochs")
