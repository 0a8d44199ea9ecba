"""The command `prunefront compare`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.columns import Column, print_table
from pipeline.cli.completion import complete_study
from pipeline.cli.output import log, out, print_json
from pipeline.fronts.numbers import volume
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE

if TYPE_CHECKING:
    from pipeline.fronts.compare import Comparison, Group, Panel, Standings

PICTURES = ("png", "svg")
_JSON_KEYS = {"significant": "real", "detectable": "sees"}  # fields whose key is another


def compare(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Names of studies.", autocompletion=complete_study)
    ] = None,
    task: Annotated[str | None, typer.Option(help="Instead of names: all studies of a task.")] = None,
    method: Annotated[str | None, typer.Option(help="Instead of names: all studies of a method.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of names: all whose run in MLflow has the tag KEY=VALUE; may be repeated."
        ),
    ] = None,
    across_models: Annotated[bool, typer.Option("--across-models", help="Base models may differ.")] = False,
    across_tasks: Annotated[
        bool, typer.Option("--across-tasks", help="Rank methods over tasks, with a critical difference.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page about the studies: `report`, with their comparison.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write the figure as a picture (.png or .svg).")] = None,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    tracking: Annotated[
        str | None,
        typer.Option(
            help="MLflow's address, for --tag. [dim]Default: in the store[/]", envvar="MLFLOW_TRACKING_URI"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare studies, and test which differences are significant.

    Studies that differ only in their seed are one group. The unit of every test is the seed; below three seeds no
    difference is tested.
    """
    from pipeline.fronts.compare import compare as compared
    from pipeline.fronts.compare import comparison_image, gather, names_of, sentences

    named = studies or []
    if tag:
        if named or task or method:
            raise BadInput(
                "Studies are named, or chosen by --task and --method, or by --tag. Keep one of them."
            )
        named = _tagged(tag, store=store, tracking=tracking)
    names = names_of(store, named, task=task, method=method)
    if html is not None and across_tasks:
        raise BadInput(
            "--html does not go with --across-tasks: a page is about one task's studies. Leave it "
            "out; --png draws ranks over tasks."
        )
    _check_picture(png)
    if html is not None:
        from pipeline.fronts.report import check_places

        check_places(html)
    groups = gather(store, names, across_models=across_models, across_tasks=across_tasks)
    if across_tasks:
        _compare_across_tasks(groups, png=png, as_json=as_json)
        return
    found = compared(groups)
    lines = sentences(found)
    _write(png, lambda kind: comparison_image(found, format=kind))
    if html is not None:
        from pipeline.fronts.report import report

        report(store, names, html=html, log=log)
        log(f"Wrote {html}.")
    if as_json:
        print_json(comparison_as_json(found, lines))
    else:
        print_comparison(found, lines)


def _compare_across_tasks(groups: tuple[Group, ...], *, png: Path | None, as_json: bool) -> None:
    from pipeline.fronts.compare import rank_across_tasks, standings_image, standings_sentences

    standings = rank_across_tasks(groups)
    lines = standings_sentences(standings)
    _write(png, lambda kind: standings_image(standings, format=kind))
    if as_json:
        print_json(standings_as_json(standings, lines))
    else:
        _print_standings(standings, lines)


def _tagged(given: list[str], *, store: Path, tracking: str | None) -> list[str]:
    """Return the studies of the store whose runs in MLflow have these tags."""
    from pipeline.driver.tracking import open_tracking
    from pipeline.study.store import Store

    for each in given:
        if not each.partition("=")[0] or not each.partition("=")[2]:
            raise BadInput(f"--tag is {each!r}; a tag is KEY=VALUE, as in team=search.")
    tags = {key: value for key, _, value in (each.partition("=") for each in given)}
    known = set(Store(store).list_studies())
    if not known:  # and no MLflow either, which would be made by looking into it
        raise BadInput(f"{store} has no studies whose runs could have a tag. Give --store.")
    found = open_tracking(tracking, store_root=store).studies_tagged(tags)
    if not known & set(found):
        elsewhere = f"; MLflow has {', '.join(found)}, which lie elsewhere" if found else ""
        raise BadInput(
            f"{store} has no study whose run in MLflow has the tag {' and '.join(given)}{elsewhere}. "
            "Set the tag on a study's run in MLflow, or give --store."
        )
    return [name for name in found if name in known]


def comparison_as_json(found: Comparison, lines: list[str]) -> dict[str, Any]:
    """Return the JSON object of a comparison: all numbers, and the sentences on them."""
    spec = found.groups[0].spec
    return {
        "task": spec.task,
        "metric_name": spec.metric_name,
        "objective": spec.objective,
        "reference_point": list(spec.reference_point),
        "validation": _panel_as_json(found.validation),
        "test": None if found.test is None else _panel_as_json(found.test),
        "says": lines,
    }


def _panel_as_json(panel: Panel) -> dict[str, Any]:
    """Return a panel under the keys that --json has always had."""
    return {
        "rows": panel.rows,
        "worths": [asdict(quality) for quality in panel.qualities],
        "tests": [
            {_JSON_KEYS.get(key, key): value for key, value in asdict(test).items()} for test in panel.tests
        ],
    }


def standings_as_json(found: Standings, lines: list[str]) -> dict[str, Any]:
    """Return the JSON object of standings: scores and ranks over tasks, and the sentences on them."""
    return {
        "tasks": list(found.tasks),
        "methods": list(found.methods),
        "hypervolume_normalised": found.scores.tolist(),
        "average_ranks": list(found.ranking.ranks),
        "p": found.ranking.p,
        "critical_difference": found.ranking.critical_difference,
        "says": lines,
    }


def _check_picture(path: Path | None) -> None:
    """Check the place of the picture before anything is written.

    Raises:
        BadInput: it has another suffix, or its folder is missing.
    """
    if path is not None and (_kind(path) not in PICTURES or not path.parent.is_dir()):
        raise BadInput(
            f"--png is {path}. It is a file with the suffix .png or .svg, in a folder that is there."
        )


def _write(path: Path | None, draw: Callable[[str], bytes]) -> None:
    """Write a picture of the kind that the file's suffix names."""
    if path is None:
        return
    path.write_bytes(draw(_kind(path)))
    log(f"Wrote {path}.")


def _kind(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def print_comparison(found: Comparison, lines: list[str]) -> None:
    """Print the tables of a comparison, and its sentences."""
    for panel in (found.validation, found.test):
        if panel is not None:
            _print_means(panel, found.groups[0].spec.second.short)
            out.print()
    for line in lines:
        out.print(f"• {line}")


def _print_means(panel: Panel, gain: str) -> None:
    from pipeline.fronts.compare import GAINS

    where = ", ".join(f"{100 * at:.0f} %" for at in GAINS)
    out.print(
        f"on {panel.rows} rows; ±: 95 % interval over seeds; at {where}: the metric at that {gain}",
        style="italic",
    )
    columns = (
        Column("study", right=False),
        Column("seeds", 3),
        Column("trials", 5),
        Column("hypervolume", 4),
        Column("normalised", 1),
        *(Column(f"at {100 * at:.0f} %", 2) for at in GAINS),
    )
    rows = [
        (
            quality.label,
            str(len(quality.seeds)),
            "–".join(dict.fromkeys((str(min(quality.trials)), str(max(quality.trials))))),
            f"{quality.hypervolume:.4f}",
            volume(quality.hypervolume_normalised.mean),
            *(
                f"{at:.4f}" if lost < at.count else "none"
                for at, lost in zip(quality.metric_at, quality.without, strict=True)
            ),
        )
        for quality in panel.qualities
    ]
    print_table(columns, rows)


def _print_standings(found: Standings, lines: list[str]) -> None:
    columns = (
        Column("method", right=False),
        Column("average rank"),
        *(Column(task, 1, shortens=True) for task in found.tasks),
    )
    rows = [
        (method, f"{place:.2f}", *map(volume, scores))
        for method, place, scores in zip(
            found.methods, found.ranking.ranks, found.scores.T.tolist(), strict=True
        )
    ]
    out.print("normalised hypervolume by task", style="italic")
    print_table(columns, rows)
    for line in lines:
        out.print(f"• {line}")
