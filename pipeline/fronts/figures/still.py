"""An interactive figure as a picture for a paper: the same marks, lines, bars and bands, by matplotlib."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.fronts.figures.fronts import TEXT
from pipeline.fronts.figures.image import DOTS_PER_INCH, MARKERS, POINTS_PER_PIXEL, STILL_INCHES, finish

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

STYLES = {"dash": "--", "dot": ":", None: "-", "solid": "-"}
STEPS = {"hv": "steps-post", "vh": "steps-pre"}
TAGS = re.compile(r"<[^>]+>")


def still(figure: go.Figure, *, kind: str = "png") -> bytes:
    """png or svg of a figure made of scatter and bar traces, as this room makes them."""
    from matplotlib.figure import Figure

    layout = figure.layout
    drawn = Figure(figsize=STILL_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = drawn.add_subplot()
    if layout.xaxis.type == "log":
        axes.set_xscale("log")
    named: set[str] = set()
    bars = [trace for trace in figure.data if trace.type == "bar"]
    for trace in figure.data:
        shown = layout.showlegend and trace.showlegend is not False and trace.name and trace.name not in named
        label = trace.name if shown else None
        named |= {label} if label else set()
        if trace.type == "bar":
            _bar(axes, trace, label, place=bars.index(trace), many=len(bars))
        elif trace.yaxis == "y2":
            axes.axvspan(min(trace.x), max(trace.x), color=_colour(trace.fillcolor), linewidth=0)
        else:
            _scatter(axes, trace, label)
    axes.set_xlabel(_plain(layout.xaxis.title.text), color=TEXT)
    axes.set_ylabel(_plain(layout.yaxis.title.text), color=TEXT)
    if layout.xaxis.range and layout.xaxis.type != "log":
        axes.set_xlim(*layout.xaxis.range)
    if layout.xaxis.ticktext:
        axes.set_xticks(
            list(layout.xaxis.tickvals), [_plain(text) for text in layout.xaxis.ticktext], fontsize=7
        )
        axes.set_yticks([])
    if layout.yaxis.autorange == "reversed":
        axes.invert_yaxis()
    finish(axes, _plain(layout.title.text), _plain(layout.title.subtitle.text))
    if named:
        drawn.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=TEXT)
    picture = BytesIO()
    drawn.savefig(picture, format=kind)
    return picture.getvalue()


def _scatter(axes: Axes, trace: Any, label: str | None) -> None:
    x = [value if value is not None else np.nan for value in trace.x]
    y = [value if value is not None else np.nan for value in trace.y]
    opacity = 1.0 if trace.opacity is None else trace.opacity
    mode = trace.mode or ""
    if trace.fill == "toself":
        axes.fill(x, y, color=_colour(trace.fillcolor), linewidth=0, label=label)
        return
    if "lines" in mode:
        axes.plot(
            x,
            y,
            color=_colour(trace.line.color),
            linewidth=(trace.line.width or 2) * POINTS_PER_PIXEL,
            linestyle=STYLES.get(trace.line.dash, "-"),
            alpha=opacity,
            label=label,
            drawstyle=STEPS.get(trace.line.shape, "default"),
        )
    if "markers" in mode and len(x):
        _marks(axes, trace, (x, y), None if "lines" in mode else label, opacity)


def _marks(
    axes: Axes, trace: Any, places: tuple[list[Any], list[Any]], label: str | None, opacity: float
) -> None:
    marker = trace.marker
    ring = marker.line.color or marker.color
    open_mark = str(marker.symbol or "").endswith("-open")
    width = marker.line.width or 0
    axes.scatter(
        *places,
        s=((marker.size or 6) * POINTS_PER_PIXEL) ** 2,
        alpha=opacity * (marker.opacity or 1.0),
        marker=MARKERS.get(
            str(marker.symbol or "circle").removesuffix("-open"), "*" if marker.symbol == "star" else "o"
        ),
        facecolors="none" if open_mark else _colour(marker.color or trace.line.color),
        edgecolors=_colour(ring or trace.line.color),
        linewidths=width * POINTS_PER_PIXEL,
        label=label,
        zorder=3,
    )
    x_error, y_error = (None if e.array is None else list(e.array) for e in (trace.error_x, trace.error_y))
    if x_error is not None or y_error is not None:
        axes.errorbar(
            *places, xerr=x_error, yerr=y_error, fmt="none", ecolor=_colour(marker.color), capsize=4
        )


def _bar(axes: Axes, trace: Any, label: str | None, *, place: int, many: int) -> None:
    height = 0.8 / many
    rows = np.arange(len(trace.y)) + (place - (many - 1) / 2) * height
    axes.barh(rows, list(trace.x), height=height, color=_colour(trace.marker.color), label=label)
    axes.set_yticks(np.arange(len(trace.y)), list(trace.y))


def _colour(colour: str | None) -> Any:
    """plotly's rgba(r,g,b,a) in matplotlib's numbers; other colours as they are."""
    found = re.fullmatch(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", colour or "")
    if found is None:
        return colour
    return (*(int(part) / 255 for part in found.groups()[:3]), float(found[4]))


def _plain(text: str | None) -> str:
    return TAGS.sub(" ", (text or "").replace("<br>", "\n"))
