"""The command `prunefront best`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.cli.called import called
from pipeline.cli.completion import complete_study
from pipeline.cli.output import err, hint, identity, out, print_json
from pipeline.cli.selection import Selection
from pipeline.cli.shared_options import with_options_of
from pipeline.fronts.front import Front, FrontPoint, load_front
from pipeline.fronts.numbers import mb, millions, percent, short
from pipeline.fronts.pick import best_of_task, pick_within, why
from pipeline.fronts.search_state import search_state
from pipeline.fronts.split_half import luck_of
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.space import parse_space
from pipeline.study.store import DEFAULT_STORE, Store, store_option


@with_options_of(Selection)
def best(
    selection: Selection,
    *,
    study: Annotated[
        str | None, typer.Argument(help="Name of the study.", autocompletion=complete_study)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Instead of a study: the best over all studies of a task.")
    ] = None,
    by_task: Annotated[
        bool,
        typer.Option("--by-task", help="Instead: one row per task, model and method, with its penalty."),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(help="With --by-task: also write the rows to this file.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="With --by-task: folder for figures of the good penalties, as html, png and svg."),
    ] = None,
    halves: Annotated[
        bool,
        typer.Option(
            "--halves",
            help="Show the selection bias: choose on half of validation, score on the other half.",
        ),
    ] = False,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show one point of a front, with its penalty, threshold and spectral settings."""
    bounds = selection.bounds
    if by_task:
        if study is not None or halves:
            raise BadInput(
                "--by-task is over studies, and has intervals where --halves has a guess. Leave them out."
            )
        from pipeline.cli.by_task import show_by_task
        from pipeline.fronts.hyperparameters import best_by_task

        found_by_task = best_by_task(store, bounds, task=task)
        show_by_task(found_by_task, csv_file=csv, figures=figures, as_json=as_json)
        return
    if csv is not None or figures is not None:
        raise BadInput("--csv and --figures write the rows of --by-task. Give it, too, or --json alone.")
    if study is None and task is None:
        raise BadInput("No study is named. Give one (`prunefront studies` lists them), or a --task.")
    if study is not None and task is not None:
        raise BadInput("A study and a --task are given. Leave one out.")
    if study is not None:
        found = load_front(study, store=store)
        point = pick_within(found, bounds)
    else:
        found, point = best_of_task(str(task), bounds, store=store)
    luck = luck_of(found.spec.name, point.gain, store=store) if halves else None
    if as_json:
        print_json(point_as_json(found, point, luck))
    else:
        _print(found, point, luck, store=store)
        if reason := why(found, bounds, point):
            err.print(reason, style="dim", soft_wrap=True)
        if unfinished := search_state(Store(store), found.spec.name, ended=found.trials).sentence:
            err.print(unfinished, style="yellow", markup=False, soft_wrap=True)


def point_as_json(found: Front, point: FrontPoint, luck: tuple[float, float] | None) -> dict[str, Any]:
    """Return the JSON object of a point and its study."""
    spec = found.spec
    return {
        **identity(spec),
        "metric_name": spec.metric_name,
        "dense_metric": spec.anchors.dense,
        "point": asdict(point) | {"speedup": point.speedup},
        "original": None if found.original is None else asdict(found.original),
        "halves": None if luck is None else {"chosen_on": luck[0], "scored_on": luck[1]},
    }


def _latency_facts(found: Front, point: FrontPoint) -> list[tuple[str, str]]:
    """Return the times of a point: at every shape at which its network was timed, or from the table."""
    bench = found.bench
    if bench is None or point.latency_ms is None or point.dense_latency_ms is None:
        return []
    spread = "".join(
        f" ± {each.spread_ms / 2:.2g}" for each in point.latencies if each.ms == point.latency_ms
    )
    rows = [
        (
            f"ms, {bench.shape}",
            f"{point.latency}{spread}  ({_against(point.latency_ms, point.dense_latency_ms)}; "
            f"{'estimated from the table of blocks, ' * (point.latency_source == 'table')}{bench.threads} thread(s), "
            f"{bench.device})",
        )
    ]
    for each in (each for each in point.latencies if each.bench != bench):
        value = f"{each.ms:.3g}{'?' * each.disturbed} ± {each.spread_ms / 2:.2g}"
        rows.append((f"ms, {each.bench.shape}", f"{value}  ({_against(each.ms, each.dense_ms)})"))
    if point.latency_disturbed or any("?" in value for _, value in rows):
        rows.append(("", "?: the machine did other work meanwhile; the true time is shorter"))
    return rows


def _against(ms: float, dense_ms: float) -> str:
    return f"{dense_ms / ms:.2f} times as fast as the dense network, {dense_ms:.3g}"


def _print(found: Front, point: FrontPoint, luck: tuple[float, float] | None, *, store: Path) -> None:
    spec = found.spec
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in _facts(found, point, luck).items():
        table.add_row(name, value)
    table.add_row("", "")
    for name in parse_space(spec.space_toml).active(point.params):
        table.add_row(name, short(point.params[name]))
    out.print(table)
    command = (
        f"{called()} export {spec.name} --trial {point.trial} --{spec.share} "
        f"{getattr(point, spec.share):.4f} --to DIR{store_option(store)}"
    )
    hint("\nAs a network:", command)


def _facts(found: Front, point: FrontPoint, luck: tuple[float, float] | None) -> dict[str, str]:
    spec, anchors = found.spec, found.spec.anchors
    facts = {
        "study": f"{spec.name}  ({spec.approach} on {spec.task}, {spec.model})",
        "point": f"trial {point.trial}, {point.kind}" + (f", round {point.round + 1}" if point.round else ""),
        spec.metric_name: f"{point.metric:.4f}  ({point.metric - anchors.dense:+.4f} against dense, validation)",
        **_size(point, spec),
        **_before(found, point),
        "size": f"{mb(point.size_mb)} MB  (dense {mb(anchors.dense_size_mb)} MB, fp32)",
        "MACs": f"{millions(point.macs)}, {percent(point.macs / anchors.dense_macs)} of dense",
    }
    facts |= dict(_latency_facts(found, point))
    if luck is not None:
        facts["halves"] = (
            f"{luck[0]:.4f} for the best one this small on the half of validation that chooses it, {luck[1]:.4f} on "
            "the other half"
        )
    return facts


def _before(found: Front, point: FrontPoint) -> dict[str, str]:
    """Return how much is gone of the encoder before its first cut, if the study's model had been cut before."""
    if found.original is None or found.first_encoder is None:
        return {}
    share = found.original.compression_of(point.encoder_parameters)
    return {
        "before": f"{percent(share)} of the encoder before its first cut, {millions(found.first_encoder)}"
    }


def _size(point: FrontPoint, spec: StudySpec) -> dict[str, str]:
    if spec.zeroes:
        return {
            "sparsity": f"{percent(point.sparsity)} of the encoder's parameters are zero",
            "non-zero": f"{millions(point.nonzero_parameters or 0)} of {millions(point.parameters)} parameters: not "
            "smaller, not faster",
        }
    dense = spec.anchors.dense_parameters
    return {
        "compression": f"{percent(point.compression)} of the encoder  ({percent(point.compression_total)} of all)",
        "parameters": f"{millions(point.parameters)}  (dense {millions(dense)})",
    }
