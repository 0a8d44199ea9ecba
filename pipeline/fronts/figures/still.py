"""Still pictures of interactive figures: the same marks, lines, bars and bands, drawn by matplotlib.

Every figure is built once, in plotly; its picture is made from it here.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.fronts.figures.fronts import GRID, QUIET, TEXT

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

STILL_INCHES = (9.0, 6.0)
DOTS_PER_INCH = 200  # sharp on a dense screen, and some 100 kB
POINTS_PER_PIXEL = 0.72  # 1/72 inch, of 1/100 inch
# plotly's names for marks in matplotlib's words
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "x": "X",
    "star": "*",
}
STYLES = {"dash": "--", "dot": ":", None: "-", "solid": "-"}
STEPS = {"hv": "steps-post", "vh": "steps-pre"}
STAR = 1.25  # matplotlib's stars are smaller than plotly's of the same size
FEW_NAMES = 6  # in a legend of three columns; of more it has four
TAGS = re.compile(r"<[^>]+>")


def still(figure: go.Figure, *, kind: str = "png") -> bytes:
    """Return the picture of a figure made of scatter and bar traces, as png or svg.

    A png has 1800 × 1200 pixels.
    """
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    layout = figure.layout
    drawn = Figure(figsize=STILL_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = drawn.add_subplot()
    if layout.xaxis.type == "log":
        axes.set_xscale("log")
    named = _draw_traces(axes, figure)
    _set_axes(axes, layout)
    finish(axes, _plain(layout.title.text), _plain(layout.title.subtitle.text))
    if named:
        columns = 4 if len(named) > FEW_NAMES else 3
        drawn.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=TEXT)
    picture = BytesIO()
    drawn.savefig(picture, format=kind)
    return picture.getvalue()


def finish(axes: Axes, headline: str, subtitle: str) -> None:
    """Give axes the look of all still pictures: titles, grid and two spines."""
    axes.set_title(headline, loc="left", pad=26, fontsize=14, color=TEXT)
    axes.annotate(
        subtitle,
        (0, 1),
        (0, 10),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9.5,
        color=QUIET,
    )
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_traces(axes: Axes, figure: go.Figure) -> set[str]:
    """Draw all traces; return the names that the legend shows, each once."""
    named: set[str] = set()
    bars = [trace for trace in figure.data if trace.type == "bar"]
    legend = figure.layout.showlegend
    for trace in figure.data:
        shown = legend and trace.showlegend is not False and trace.name and trace.name not in named
        label = trace.name if shown else None
        named |= {label} if label else set()
        if trace.type == "bar":
            _bar(axes, trace, label, place=bars.index(trace), many=len(bars))
        elif trace.yaxis == "y2":
            axes.axvspan(min(trace.x), max(trace.x), color=_colour(trace.fillcolor), linewidth=0)
        else:
            _scatter(axes, trace, label)
    return named


def _set_axes(axes: Axes, layout: Any) -> None:
    """Give axes the labels, range, ticks and direction of a figure's layout."""
    axes.set_xlabel(_plain(layout.xaxis.title.text), color=TEXT)
    axes.set_ylabel(_plain(layout.yaxis.title.text), color=TEXT)
    if layout.xaxis.range and layout.xaxis.type != "log":
        axes.set_xlim(*layout.xaxis.range)
    if layout.yaxis.range and layout.yaxis.type != "log":
        axes.set_ylim(*layout.yaxis.range)
    if layout.xaxis.ticktext:
        axes.set_xticks(
            list(layout.xaxis.tickvals), [_plain(text) for text in layout.xaxis.ticktext], fontsize=7
        )
        axes.set_yticks([])
    if layout.yaxis.autorange == "reversed":
        axes.invert_yaxis()


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
            **(_marks_on_line(trace) if "markers" in mode else {}),
        )
    elif "markers" in mode and len(x):
        _marks(axes, trace, (x, y), label, opacity)


def _marks_on_line(trace: Any) -> dict[str, Any]:
    """Return the marks of a line as arguments of `plot`: so the legend shows them, too."""
    most = trace.marker.maxdisplayed or len(trace.x)
    return {
        "marker": MARKERS.get(trace.marker.symbol, "o"),
        "markersize": (trace.marker.size or 6) * POINTS_PER_PIXEL,
        "markevery": max(1, len(trace.x) // max(most, 1)),
    }


def _marks(
    axes: Axes, trace: Any, places: tuple[list[Any], list[Any]], label: str | None, opacity: float
) -> None:
    marker = trace.marker
    symbol = str(marker.symbol or "circle")
    ring = marker.line.color or marker.color
    star = symbol == "star"
    axes.scatter(
        *places,
        s=((marker.size or 6) * POINTS_PER_PIXEL * (STAR if star else 1)) ** 2,
        alpha=opacity * (marker.opacity or 1.0),
        marker=MARKERS.get(symbol.removesuffix("-open"), "o"),
        facecolors="none" if symbol.endswith("-open") else _colour(marker.color or trace.line.color),
        edgecolors=_colour(ring or trace.line.color),
        linewidths=(marker.line.width or 0) * POINTS_PER_PIXEL,
        label=label,
        zorder=5 if star else 3,
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
    """Return plotly's rgba(r,g,b,a) in matplotlib's numbers, other colours as they are."""
    found = re.fullmatch(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", colour or "")
    if found is None:
        return colour
    return (*(int(part) / 255 for part in found.groups()[:3]), float(found[4]))


def _plain(text: str | None) -> str:
    return TAGS.sub(" ", (text or "").replace("<br>", "\n"))
