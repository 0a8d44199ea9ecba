"""The command `prunefront show`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from pipeline.cli.called import called
from pipeline.cli.columns import Column, print_table
from pipeline.cli.completion import complete_study
from pipeline.cli.output import hint, identity, out, print_as_is, print_json, styled
from pipeline.driver.tracking import page_of, shown
from pipeline.fronts.front import Front, FrontPoint, load_front
from pipeline.fronts.numbers import VOLUME, mb, millions, percent, short, volume
from pipeline.fronts.search_state import search_state
from pipeline.fronts.setting_columns import setting_columns, shared_settings
from pipeline.study.records import OBJECTIVES
from pipeline.study.store import DEFAULT_STORE, LATER, Retrained, Store, sqlite_url, store_option

_TIMES = ("ms", "speed")
PLOT_WIDTH, PLOT_HEIGHT, HEIGHTS = 78, 16, 8  # characters; the labels of the heights
MEGABYTE = 10**6  # bytes
ZEROS = (
    "Single weights are zero: no network is smaller or faster than the dense one, in size, MACs or latency."
)


def show(
    study: Annotated[
        str,
        typer.Argument(
            help="Name of the study (`prunefront studies` lists them).", autocompletion=complete_study
        ),
    ],
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show a study's front: a table, and a plot in the terminal."""
    found = load_front(study, store=store)
    if as_json:
        print_json(front_as_json(found))
    else:
        print_front(found, store=store, tracking=None)
        if unfinished := search_state(Store(store), study, ended=found.trials).sentence:
            out.print(unfinished, style="yellow", markup=False)


def front_as_json(found: Front) -> dict[str, Any]:
    """Return the JSON object of the command."""
    spec = found.spec
    return {
        **identity(spec),
        "objective": spec.objective,
        "latency": None if found.bench is None else asdict(found.bench),
        "latency_disturbed": found.latency_disturbed,
        "metric_name": spec.metric_name,
        "reference_point": list(spec.reference_point),
        "hypervolume": found.hypervolume,
        "hypervolume_normalised": found.hypervolume_normalised,
        "dense_metric": spec.anchors.dense,
        "dense_is_own": spec.own,
        "constant_metric": spec.anchors.constant,
        "trials": found.trials,
        "epochs": found.epochs,
        "left_out": found.left_out,
        "remarks": list(found.remarks),
        "original": None if found.original is None else asdict(found.original),
        "points": [
            asdict(point) | {"speedup": point.speedup}
            for point in sorted(found.points, key=lambda p: (getattr(p, spec.share), -p.metric))
        ],
    }


def print_front(found: Front, *, store: Path, tracking: str | None) -> None:
    """Print plot, table, and the commands that may follow."""
    spec, anchors = found.spec, found.spec.anchors
    if not found.points:
        out.print(
            styled(
                "The front of [bold]{name}[/] is empty: {why}. {left_out}",
                name=spec.name,
                why=found.why_empty,
                left_out=_left_out(found),
            )
        )
        return
    out.print()
    print_as_is(_plot(found))
    settings = setting_columns(found)
    rows = [_dense_row(found, len(settings))]
    rows += [_row(number, point, found, settings) for number, point in enumerate(found.points, 1)]
    print_table(_columns(found, settings.values()), rows)
    out.print(
        styled(
            "[bold]{name}[/]: {approach} on {task} with {model}. {counts} {left_out}",
            name=spec.name,
            approach=spec.approach,
            task=spec.task,
            model=spec.model,
            counts=f"{found.trials} trials, {found.seen} networks measured, {len(found.points)} on the front.",
            left_out=_left_out(found),
        )
    )
    if found.below_constant:
        out.print(f"{_below_constant(found.below_constant)}", style="dim")
    out.print(
        f"Dense {spec.metric_name} {anchors.dense:.4f} ({spec.dense_origin}), "
        f"constant prediction {anchors.constant:.4f}."
    )
    out.print(f"Normalised hypervolume {volume(found.hypervolume_normalised)} ({VOLUME}).", style="dim")
    out.print(
        f"The metric is on the {spec.validation_rows} validation rows by which the front was chosen.",
        style="dim",
    )
    if alike := shared_settings(found):
        out.print(
            f"Same for all rows: {', '.join(f'{key} {short(value)}' for key, value in alike.items())}.",
            style="dim",
        )
    for remark in found.remarks:
        out.print(remark, style="yellow", markup=False)
    if spec.zeroes:
        out.print(ZEROS, style="dim")
    if found.bench is not None:
        out.print(f"{found.latency_conditions}.", style="dim")
    for point in found.points:
        if point.retrained is not None:
            out.print(f"{_retrained(point, point.retrained)}", style="dim")
    megabytes = Store(store).study(spec.name).weights.size_bytes() / MEGABYTE
    out.print(f"The weights of the front's networks take {megabytes:,.0f} MB of disk.", style="dim")
    hint("\nOne point:", f"{called()} best {spec.name} --max-drop 0.02{store_option(store)}")
    hint("In MLflow:", _in_mlflow(tracking, store))
    page = page_of(spec, store=store) if tracking is None else None
    if page is not None:
        hint("      then", f"http://127.0.0.1:5000/{page}")


def _below_constant(count: int) -> str:
    are = "network is" if count == 1 else "networks are"
    left = "it is" if count == 1 else "they are"
    return f"{count} {are} no better than predicting a constant; {left} left out of the front."


def _in_mlflow(tracking: str | None, store: Path) -> str:
    """Return a server's address without its secrets, or the command that shows a database."""
    if tracking is not None and tracking.startswith("http"):
        return shown(tracking)
    if tracking == LATER:
        return f"{called()} studies --sync{store_option(store)}"
    database = sqlite_url(store / "mlflow.db") if tracking is None else shown(tracking)
    return f"{called('mlflow')} ui --backend-store-uri {quote(database)}"


def _milliseconds(point: FrontPoint) -> list[str]:
    if point.latency_ms is None or point.speedup is None:
        return ["", ""]
    return [point.latency, f"{point.speedup:.1f}×{'?' * point.latency_disturbed}"]


def _retrained(point: FrontPoint, again: Retrained) -> str:
    apart = ", more than two standard errors apart" if again.differs else ""
    return (
        f"The network at {percent(point.gain)} was trained again: {again.metric:.4f} instead of "
        f"{again.recorded:.4f}{apart}."
    )


def _left_out(found: Front) -> str:
    parts = [f"{count} {state}" for state, count in found.left_out.items() if count]
    if not parts:
        return ""
    why = "; ".join(f"{count} × {reason}" if count > 1 else reason for reason, count in found.reasons.items())
    return f"Left out: {', '.join(parts)} ({why})."


def _plot(found: Front) -> str:
    import plotext

    curve = [p for p in found.points if p.kind == "curve"]
    recovered = [p for p in found.points if p.kind == "recovered"]
    plotext.clear_figure()
    plotext.theme("clear")
    width = min(PLOT_WIDTH, out.width)
    plotext.plot_size(width, PLOT_HEIGHT)
    for points, marker, label in ((curve, "·", "cut, not recovered"), (recovered, "●", "recovered")):
        if points:
            plotext.scatter(
                [100 * p.gain for p in points], [p.metric for p in points], marker=marker, label=label
            )
    plotext.hline(found.spec.anchors.dense)
    heights = [found.spec.anchors.dense, *(point.metric for point in found.points)]
    margin = 0.05 * (max(heights) - min(heights)) or 0.05
    plotext.ylim(min(heights) - margin, max(heights) + margin)
    plotext.xlim(0, 100)
    title = f"{found.spec.metric_name} against {_gain_name(found)} in %"
    long = f"{title}; the line is the dense network"
    plotext.title(long if len(long) <= width - HEIGHTS else title)
    return str(plotext.uncolorize(plotext.build()))


def _gain_name(found: Front) -> str:
    return found.spec.second.label.partition(" (")[0]


def _columns(found: Front, settings: Iterable[str]) -> list[Column]:
    """Return the columns; settings give way first, then sizes."""
    spec = found.spec
    second = [] if spec.objective == spec.share else [Column(spec.second.short)]
    sizes = [Column("non-zero", 5)] if spec.zeroes else [Column("MB"), Column("params", 5), Column("MACs", 4)]
    times = [Column("ms"), Column("speed", 3)] if found.bench is not None else []
    return [
        Column("#"),
        *second,
        Column(OBJECTIVES[spec.share].short),
        Column(spec.metric_name),
        Column("vs dense"),
        *sizes,
        *times,
        Column("trial", 2),
        Column("kind", 1, right=False),
        *(Column(name, 9, dim=True) for name in settings),
    ]


def _dense_row(found: Front, settings: int) -> list[str]:
    """Return the row of the dense network, which every other row is read against."""
    spec, anchors = found.spec, found.spec.anchors
    second = [] if spec.objective == spec.share else ["0.0 %"]
    macs = f"{millions(anchors.dense_macs)} 100 %"
    sizes = [mb(anchors.dense_size_mb), millions(anchors.dense_parameters), macs]
    dense_ms = found.dense_latency_ms
    times = ["" if dense_ms is None else f"{dense_ms:.3g}", "1.0×"] if found.bench is not None else []
    return [
        "",
        *second,
        "0.0 %",
        f"{anchors.dense:.4f}",
        "",
        *([millions(anchors.dense_parameters)] if spec.zeroes else sizes),
        *times,
        "",
        "dense",
        *([""] * settings),
    ]


def _row(number: int, point: FrontPoint, found: Front, keys: Iterable[str]) -> list[str]:
    spec, anchors = found.spec, found.spec.anchors
    second = [] if spec.objective == spec.share else [percent(point.gain)]
    sizes = [
        mb(point.size_mb),
        millions(point.parameters),
        f"{millions(point.macs)} {100 * point.macs / anchors.dense_macs:.0f} %",
    ]
    return [
        str(number),
        *second,
        percent(getattr(point, spec.share)),
        f"{point.metric:.4f}",
        f"{point.metric - anchors.dense:+.4f}",
        *([millions(point.nonzero_parameters or 0)] if spec.zeroes else sizes),
        *(_milliseconds(point) if found.bench is not None else ()),
        str(point.trial),
        point.kind,
        *(short(point.params.get(key, "")) for key in keys),
    ]
