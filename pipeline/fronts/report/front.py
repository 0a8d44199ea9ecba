"""The front as a figure with clickable points, and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.fronts.at_size import Rival, at_size
from pipeline.fronts.figures import front_figure, own_front
from pipeline.fronts.front import FrontPoint
from pipeline.fronts.numbers import mb, short
from pipeline.fronts.report.markup import Block, Markup, Picture, Section, paragraphs, table, text
from pipeline.fronts.report.reading import StudyView, sparse
from pipeline.fronts.setting_columns import setting_columns, shared_settings
from pipeline.study.records import StudySpec

MARKS = 4000  # of a panel of fronts, beside the fronts themselves, shared among its studies
ZEROS = "Where single weights are zero, no network is smaller or faster than the dense one, in size, MACs or latency."


def front_section(views: Sequence[StudyView]) -> Section:
    """Return a panel of networks that were cut and one of networks with zeros: they share no front."""
    cut = [view for view in views if not view.front.spec.zeroes]
    zeroed = [view for view in views if view.front.spec.zeroes]
    blocks: list[Block] = [_panel(panel, "front", "The front") for panel in (cut or zeroed,)]
    if cut and zeroed:
        blocks.append(_panel(zeroed, "front-sparsity", "The front of single weights"))
    if zeroed:
        blocks.append(paragraphs(ZEROS))
    blocks.append(
        Markup(
            '<div id="network" class="card" aria-live="polite" tabindex="-1"><h3>The network of a point</h3><p>'
            "Click a mark above, or press a button in the table: this shows which heads and blocks of it are gone, "
            "layer by layer.</p></div>"
        )
    )
    if len(views) == 1 and views[0].front.points:
        blocks.append(front_table(views[0]))
    blocks += _at_size(views)
    blocks += [int8_table(view) for view in views if view.series.int8]
    return Section("fronts", "Front", tuple(blocks))


def _panel(views: Sequence[StudyView], name: str, title: str) -> Picture:
    series = [sparse(view.series, round(MARKS / len(views))) for view in views]
    ends = "; ".join(
        f"{view.front.spec.name}: from {view.front.points[0].metric:.3f} at "
        f"{100 * view.front.points[0].gain:.0f} % to {view.front.points[-1].metric:.3f} at "
        f"{100 * view.front.points[-1].gain:.0f} %"
        for view in views
        if view.front.points
    )
    return Picture(
        name, title, front_figure(series), f"Metric against {series[0].spec.second.label}. {ends}."
    )


def front_table(view: StudyView) -> Markup:
    """Return a table of the front's points, each with a button that shows its network."""
    front, spec = view.front, view.front.spec
    anchors = spec.anchors
    keys = [*setting_columns(front), "learning_rate"]
    fast = any(point.latency_ms for point in front.points)
    second = [] if spec.objective == spec.share else [spec.second.short]
    sizes = ["non-zero"] if spec.zeroes else ["parameters", "MB", "MACs"]
    head = ["", spec.share, *second, spec.metric_name, "vs dense", *sizes]
    head += (["latency"] if fast else []) + ["kind", *keys]
    rows = [
        [
            f'<button type="button" data-point="{text(f"{spec.name}/{point.trial}/{point.point}")}">trial '
            f"{point.trial}, point {point.point}</button>",
            f"{100 * getattr(point, spec.share):.1f} %",
            *([f"{100 * point.gain:.1f} %"] if second else []),
            f"{point.metric:.4f}",
            f"{point.metric - anchors.dense:+.4f}",
            *_sizes(point, spec),
            *([f"{point.latency} ms" if point.latency_ms else "–"] if fast else []),
            point.kind,
            *(short(point.params.get(key)) for key in keys),
        ]
        for point in front.points
    ]
    rows.insert(0, _dense_row(view, len(head), fast=fast, second=bool(second)))
    shared = ", ".join(f"{key} {short(value)}" for key, value in shared_settings(front).items())
    caption = f"The front of {spec.name}, point by point" + (
        f"; the same in all rows: {shared}" if shared else ""
    )
    if fast:
        caption += f". {front.latency_conditions}"
    return table(caption, head, rows, first_is_markup=True)


def _at_size(views: Sequence[StudyView]) -> list[Block]:
    """Return a table of models as they came beside networks cut from others; nothing if there is one model."""
    rows = [
        [
            row.model,
            mb(row.size_mb),
            f"{row.metric:.4f}",
            *_rival(row.by_mb, row.metric),
            "" if row.latency_ms is None else f"{row.latency_ms:.3g}",
            *_rival(row.by_ms, row.metric),
        ]
        for row in at_size([view.front for view in views])
    ]
    if not rows:
        return []
    head = [
        "model as it came",
        "MB",
        "metric",
        "best of others at its MB",
        "against it",
        "ms",
        "at its ms",
        "against it",
    ]
    return [table("Is a pruned network better than a smaller model off the shelf?", head, rows)]


def _rival(rival: Rival | None, metric: float) -> tuple[str, str]:
    if rival is None:
        return "none so small", ""
    cost = f"{mb(rival.point.size_mb)} MB" + (f", {rival.point.latency} ms" if rival.point.latency_ms else "")
    return f"{rival.point.metric:.4f}: {rival.study} ({cost})", f"{rival.point.metric - metric:+.4f}"


def int8_table(view: StudyView) -> Markup:
    """Return a table of a study's networks in 8 bits, beside fp32 in the same engine."""
    spec, measured = view.front.spec, view.whole.int8
    shown = {(dot.trial, dot.point): dot for dot in view.whole.dots}
    best = {id(each) for cost in ("size_mb", "ms") for each in own_front(measured, cost)}
    rows = [
        [
            f"trial {each.trial}, point {each.point}",
            f"{100 * shown[each.trial, each.point].compression:.1f} %"
            if (each.trial, each.point) in shown
            else "",
            each.kind,
            f"{each.metric:.4f}",
            f"{each.metric - each.fp32_metric:+.4f}",
            mb(each.size_mb),
            *(("", "") if each.ms is None else (f"{each.ms:.3g}", f"{(each.fp32_ms or 0) / each.ms:.2f}×")),
            "yes" if id(each) in best else "",
        ]
        for each in measured
    ]
    one = measured[0]
    caption = (
        f"Networks of {spec.name} in 8 bits, on the same validation rows; times at {one.batch} × {one.length} tokens, "
        f"{one.threads} thread(s), {one.device}, in turns with fp32 in the same engine"
    )
    head = [
        "network",
        "compression",
        "kind",
        spec.metric_name,
        "vs fp32",
        "MB",
        "ms",
        "as fast",
        "on a front",
    ]
    return table(caption, head, rows)


def _dense_row(view: StudyView, cells: int, *, fast: bool, second: bool) -> list[str]:
    """Return the row of the dense network, which the others are read against."""
    front, anchors = view.front, view.front.spec.anchors
    ms = front.dense_latency_ms
    sizes = [f"{anchors.dense_parameters / 1e6:.2f} M", mb(anchors.dense_size_mb), "100 %"]
    row = [
        "dense",
        "0.0 %",
        *(["0.0 %"] if second else []),
        f"{anchors.dense:.4f}",
        "",
        *(sizes[:1] if front.spec.zeroes else sizes),
        *(["–" if ms is None else f"{ms:.3g} ms"] if fast else []),
        "",
    ]
    return row + [""] * (cells - len(row))


def _sizes(point: FrontPoint, spec: StudySpec) -> list[str]:
    if spec.zeroes:
        return [f"{(point.nonzero_parameters or 0) / 1e6:.2f} M"]
    return [
        f"{point.parameters / 1e6:.2f} M",
        mb(point.size_mb),
        f"{100 * point.macs / spec.anchors.dense_macs:.0f} %",
    ]
