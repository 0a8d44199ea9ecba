"""Fronts to explore: interactive figures (plotly), and how all of them look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from pipeline.fronts.figures.eight_bits import draw_int8
from pipeline.fronts.figures.series import (
    COLOURS,
    CUT,
    PERCENT,
    TRAINED,
    Dot,
    Series,
    axis_labels,
    hypervolumes,
    look,
    titles,
    xy,
)
from pipeline.fronts.numbers import mb, short
from pipeline.fronts.setting_columns import columns_of
from pipeline.study.records import Params, StudySpec

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEXT, QUIET, GRID = "#222222", "#6B6B6B", "#E6E6E6"
ANCHORS = {"dense": "dense network", "constant": "always the same answer"}  # in a legend
FEW_TRIALS = 12  # up to here an axis has a tick for each
HEIGHT = 600  # pixels of an interactive figure; its width is the window's


def front_figure(series: Sequence[Series]) -> go.Figure:
    """Return the interactive fronts of one or more studies; hovering shows trial, settings and measurements.

    Of more studies than there are colours, those of one kind (approach and model) share one.

    Raises:
        ValueError: `series` is empty.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, *titles("Pareto front", series))
    alone, many = len(series) == 1, len(series) > len(COLOURS)
    kinds = {one.spec.name: f"{one.spec.approach}, {one.spec.model}" for one in series}
    order = list(dict.fromkeys(kinds.values()))
    for index, one in enumerate(series):
        colour, symbol = look(order.index(kinds[one.spec.name]) if many else index)
        _draw_anchors(figure, one, colour=TEXT if alone else colour, alone=alone)
        _draw_front(figure, one, colour=colour, alone=alone)
        _draw_dots(figure, one, colour=colour, symbol=symbol, alone=alone)
        draw_int8(figure, one, colour=colour, alone=alone)
    if many:
        _name_kinds(figure, kinds)
    if not alone:
        _explain_marks(figure)
    gain, metric = axis_labels(series)
    figure.update_xaxes(title=gain, range=[-2, 102], ticksuffix=" %")
    figure.update_yaxes(title=metric)
    _offer_axes(figure, series)
    return figure


def _name_kinds(figure: go.Figure, kinds: Mapping[str, str]) -> None:
    """Name each kind of study once in the legend; hovering still shows the study."""
    shown: set[str] = set()
    for trace in figure.data:
        kind = kinds[trace.legendgroup]
        trace.legendgroup = kind
        if trace.showlegend is not False:
            trace.update(name=kind, showlegend=kind not in shown)
            shown.add(kind)


def _explain_marks(figure: go.Figure) -> None:
    """Add what marks mean, whatever their colour, to the legend of several studies."""
    marks = (
        (f"filled: {TRAINED}", QUIET, "circle"),
        (f"hollow: {CUT}", "white", "circle"),
        ("star, dashes: dense network", QUIET, "star"),
    )
    for name, fill, symbol in marks:
        marker = {"color": fill, "size": 10, "symbol": symbol, "line": {"color": QUIET, "width": 2.5}}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip")


def hypervolume_figure(series: Sequence[Series]) -> go.Figure:
    """Return a figure of the hypervolume after each complete trial of one or more studies.

    Raises:
        ValueError: `series` is empty.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, *titles("Hypervolume over trials", series))
    shown = [hypervolumes(one) for one in series]
    for index, (one, (numbers, found)) in enumerate(zip(series, shown, strict=True)):
        add_steps(figure, one, index, numbers, found, hover="up to trial %{x}: <b>%{y:.4f}</b>")
    figure.update_layout(showlegend=len(series) > 1)
    few = max((max(numbers, default=0) for numbers, _ in shown), default=0) <= FEW_TRIALS
    figure.update_xaxes(
        title="trial", tickformat="d", **({"dtick": 1} if few else {})
    )  # there is no trial 0.5
    if len({round(height, 6) for _, found in shown for height in found}) == 1:
        figure.update_yaxes(rangemode="tozero")  # around one height plotly draws a range that means nothing
    figure.update_yaxes(title="hypervolume / (dense − constant)")
    return figure


def add_steps(
    figure: go.Figure, one: Series, index: int, x: Sequence[float], y: Sequence[float], *, hover: str
) -> None:
    """Draw a study's hypervolume as a line that rises in steps, in the look of its place among the studies."""
    colour, symbol = look(index)
    figure.add_scatter(
        x=x,
        y=y,
        name=one.spec.name,
        mode="lines+markers",
        line={"color": colour, "width": 2.5, "shape": "hv"},
        marker={"symbol": symbol, "size": 7},
        hovertemplate=f"{hover}<extra></extra>",
    )


def hover(dot: Dot, spec: StudySpec) -> str:
    """Return the text shown for a network under the pointer: its measurements, then its settings."""
    settings = [f"{name} {escape(short(value))}" for name, value in _settings(spec.method, dot.params)]
    latency = "" if dot.latency_ms is None else f", {dot.latency_ms:.3g} ms"
    lines = [
        f"<b>trial {dot.trial}</b>, {dot.kind}",
        f"{spec.metric_name} <b>{dot.metric:.4f}</b> at {spec.share} "
        f"<b>{PERCENT * (dot.gain if spec.zeroes else dot.compression):.1f} %</b>",
        f"{dot.parameters / 1e6:.2f} M parameters, {mb(dot.size_mb)} MB{latency}",
        *(" · ".join(settings[at : at + 2]) for at in range(0, len(settings), 2)),
    ]
    return "<br>".join(lines)


def _settings(method: str, params: Params) -> list[tuple[str, Any]]:
    """Return the settings that tables of the method show, as far as they are in force."""
    columns = columns_of(method)
    keys = [key for column in columns for key in (column.key, column.key_in_force(params))]
    return [(key, params[key]) for key in keys if key is not None and key in params]


def _draw_dots(figure: go.Figure, one: Series, *, colour: str, symbol: str, alone: bool) -> None:
    for layer in one.layers():
        if not layer.dots:
            continue
        x, y = xy(layer.dots)
        figure.add_scatter(
            x=x,
            y=y,
            name=layer.name,
            legendgroup=layer.name if alone else one.spec.name,
            showlegend=alone,
            mode="markers",
            marker={
                "symbol": symbol,
                "size": layer.size,
                "opacity": layer.opacity,
                "color": "white" if layer.hollow else colour,
                "line": {"color": colour, "width": 2.5 if layer.on_front else 0},
            },
            text=[hover(dot, one.spec) for dot in layer.dots],
            customdata=[f"{one.spec.name}/{dot.trial}/{dot.point}" for dot in layer.dots],
            meta=alternatives(layer.dots),
            hovertemplate="%{text}<extra></extra>" if alone else f"%{{text}}<extra>{one.spec.name}</extra>",
        )


def _draw_front(figure: go.Figure, one: Series, *, colour: str, alone: bool) -> None:
    x, y = xy(one.front)
    figure.add_scatter(
        x=x,
        y=y,
        name="front" if alone else one.spec.name,
        legendgroup="front" if alone else one.spec.name,
        mode="lines",
        line={
            "color": colour,
            "width": 2.5,
            "shape": "vh",
        },  # down at a point, then on: none before the first
        meta=alternatives(one.front),
        hoverinfo="skip",
    )


def alternatives(dots: Sequence[Dot]) -> dict[str, list[float | None]]:
    """Return what else networks may be drawn over, by the name of the axis."""
    return {
        "MB": [dot.size_mb for dot in dots],
        "MACs": [dot.macs / 1e6 for dot in dots],
        "ms": [dot.latency_ms for dot in dots],
    }


def _offer_axes(figure: go.Figure, series: Sequence[Series]) -> None:
    """Zoom to the fronts' heights, and note in the figure which other axes and ranges the page may offer."""
    shown = [dot for one in series for dot in one.front]
    if not shown:
        return
    anchors = [one.spec.anchors for one in series]
    heights = [*(dot.metric for dot in shown), *(each.dense for each in anchors)]
    heights += [each.metric for one in series for each in one.int8]
    margin = 0.08 * (max(heights) - min(heights)) or 0.02
    zoom = [min(heights) - margin, max(heights) + margin]
    every = [dot for one in series for dot in one.dots]
    bottom = min([*(dot.metric for dot in every), *(each.constant for each in anchors)])
    top = max([*(dot.metric for dot in every), *heights])
    most = {
        "MB": max(each.dense_size_mb for each in anchors),
        "MACs": max(each.dense_macs for each in anchors) / 1e6,
        "ms": max(
            [dot.latency_ms or 0.0 for dot in every]
            + [each.ms or 0.0 for one in series for each in one.int8],
            default=0.0,
        ),
    }
    titles = {
        "MB": "size of the whole network, MB as fp32",
        "MACs": "multiply-accumulates of a row in the encoder, millions",
        "ms": "latency, ms a batch",
    }
    axes = {
        name: {"title": titles[name], "zoom": [0, 1.05 * value], "full": [0, 1.05 * value]}
        for name, value in most.items()
        if value > 0
    }
    several_models = len({one.spec.model_fingerprint for one in series}) > 1
    figure.update_layout(
        meta={
            "zoom": zoom,
            "full": [bottom - margin, top + margin],
            "axes": axes,
            # a share of one model's encoder says nothing of another's
            "first": "MB" if several_models else "gain",
        }
    )
    figure.update_yaxes(range=zoom)  # over all compressions, so that one sees from where on it costs anything


def _draw_anchors(figure: go.Figure, one: Series, *, colour: str, alone: bool) -> None:
    anchors = one.spec.anchors
    for name, value, dash in (("dense", anchors.dense, "dash"), ("constant", anchors.constant, "dot")):
        figure.add_scatter(
            x=[0, PERCENT],
            y=[value, value],
            mode="lines",
            line={"color": colour, "width": 1.2, "dash": dash},
            name=f"{ANCHORS[name]}: {value:.3f}",
            meta={"MB": [0, None], "MACs": [0, None], "ms": [0, None]},  # None: the axis's end
            legendgroup=name if alone else one.spec.name,
            showlegend=alone,
            hoverinfo="skip",
        )
    metric = f"{one.spec.metric_name} <b>{anchors.dense:.4f}</b>"
    size = f"{anchors.dense_parameters / 1e6:.2f} M parameters, {mb(anchors.dense_size_mb)} MB"
    figure.add_scatter(
        x=[0],
        y=[anchors.dense],
        mode="markers",
        marker={"color": colour, "symbol": "star", "size": 15},
        meta={"MB": [anchors.dense_size_mb], "MACs": [anchors.dense_macs / 1e6], "ms": [_dense_ms(one)]},
        legendgroup="dense" if alone else one.spec.name,
        showlegend=False,
        hovertemplate=f"<b>dense</b><br>{metric}<br>{size}<extra></extra>",
    )


def _dense_ms(one: Series) -> float | None:
    """Return the dense network's latency, if a network without a cut was timed."""
    return next((dot.latency_ms for dot in one.dots if dot.compression == 0 and dot.latency_ms), None)


def lay_out(figure: go.Figure, headline: str, subtitle: str) -> None:
    """Give a figure the titles and the look of all interactive figures."""
    figure.update_layout(
        template="plotly_white",
        title={"text": headline, "subtitle": {"text": subtitle}, "x": 0.02, "font": {"size": 20}},
        font={"family": "Helvetica, Arial, sans-serif", "size": 14, "color": TEXT},
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0},
        showlegend=True,
        height=HEIGHT,
        margin={"l": 75, "r": 25, "t": 85, "b": 120},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": TEXT, "size": 13}},
    )
    axis = {"gridcolor": GRID, "linecolor": QUIET, "showline": True, "zeroline": False, "ticks": "outside"}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
