"""The command `prunefront confirm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.columns import Column, print_table
from pipeline.cli.completion import complete_study
from pipeline.cli.output import log, out, print_json, styled
from pipeline.cli.selection import Selection
from pipeline.cli.shared_options import with_options_of
from pipeline.export.confirm_options import ConfirmOptions
from pipeline.fronts.numbers import percent
from pipeline.study.records import OBJECTIVES

if TYPE_CHECKING:
    from pipeline.export.confirm import ConfirmResult
    from pipeline.fronts.confirmed import ConfirmedPoint


@with_options_of(ConfirmOptions, Selection)
def confirm(
    options: ConfirmOptions,
    selection: Selection,
    *,
    study: Annotated[str, typer.Argument(help="Name of the study.", autocompletion=complete_study)],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train points of a front again on fresh seeds and measure them on test rows.

    A front is optimistic: its points were chosen by the rows and the seed on which they look best. The same command
    after an interruption goes on; what is done stays done, and more seeds or points may be added later. Of a search
    without training each network itself is measured, once.
    """
    from pipeline.export.confirm import confirm_study

    done = confirm_study(study, options, (lambda _: None) if quiet else log, selection.bounds)
    if as_json:
        print_json(confirmed_as_json(done))
    else:
        _print(done)


def confirmed_as_json(done: ConfirmResult) -> dict[str, Any]:
    """Return the JSON object of the requested points."""
    spec = done.confirmed.spec
    return {
        "study": spec.name,
        "task": spec.task,
        "metric_name": spec.metric_name,
        "test_rows": len(done.confirmed.labels),
        "dense_metric": spec.anchors.dense,
        "missing": done.missing,
        "lost": list(done.lost),
        "points": [_as_json(point) for point in done.confirmed.points],
    }


def _as_json(point: ConfirmedPoint) -> dict[str, Any]:
    means = ("metric", "gain", "compression", "sparsity", "validation", "optimism")
    return {
        "trial": point.trial,
        "point": point.point,
        "kind": point.kind,
        "selected": point.selected,
        "selected_gain": point.selected_gain,
        **{name: vars(getattr(point, name)) for name in means},
        "failed": point.failed,
        "params": point.params,
        "seeds": [
            {
                "seed": each.seed,
                "metric": each.measurement.metric,
                "compression": each.measurement.compression,
                "sparsity": each.measurement.sparsity,
                "validation": each.validation,
            }
            for each in point.confirmations
            if each.measurement is not None
        ],
    }


def _print(done: ConfirmResult) -> None:
    found = done.confirmed
    columns = (
        Column(OBJECTIVES[found.spec.share].short),
        Column("trial", 2),
        Column("kind", 3),
        Column("seeds", 4),
        Column(f"{found.spec.metric_name} (test)"),
        Column("sd", 5),
        Column("promised", 1),
        Column("optimism", 1),
    )
    rows = [
        (
            percent(getattr(point, found.spec.share).mean),
            str(point.trial),
            point.kind,
            str(point.metric.count) + (f" ({point.failed} failed)" if point.failed else ""),
            f"{point.metric:.4f}",
            f"{point.metric.deviation:.4f}" if point.metric.count > 1 else "",
            f"{point.selected:.4f}",
            f"{point.optimism:+.4f}",
        )
        for point in found.points
    ]
    print_table(columns, rows)
    repeated = any(each.epochs for point in found.points for each in point.confirmations)
    how = (
        "Means over fresh seeds on {rows} test rows, with their 95 % intervals."
        if repeated
        else "Nothing was trained, so there is no seed to repeat: each network itself was measured on {rows} test rows."
    )
    out.print(
        styled(
            f"\n{how} [bold]promised[/]: on the validation rows by which the point was chosen; [bold]optimism[/]: "
            "promised minus measured.",
            rows=len(found.labels),
        )
    )
    if done.missing:
        out.print(f"{done.missing} trainings are missing; the same command goes on.", style="yellow")
