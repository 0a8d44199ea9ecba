"""A front as a picture to print, and how all pictures look."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from pipeline.fronts.figures.fronts import GRID, QUIET, SHADE, TEXT
from pipeline.fronts.figures.series import PERCENT, Series, axis_labels, look, titles, xy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STILL_INCHES = (9.0, 6.0)
DOTS_PER_INCH = 200  # sharp on a dense screen, and some 100 kB
POINTS_PER_PIXEL = 0.72  # 1/72 inch, of 1/100 inch
# plotly's names for marks in matplotlib's words
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X"}


def front_image(series: Sequence[Series]) -> bytes:
    """The fronts of one or more studies as a PNG of 1800 × 1200 pixels.

    Raises:
        ValueError: `series` is empty.
    """
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=STILL_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    _frame(axes, series)
    alone = len(series) == 1
    for index, one in enumerate(series):
        colour, symbol = look(index)
        _paint_anchors(axes, one, colour=TEXT if alone else colour, alone=alone)
        _paint_front(axes, one, colour=colour, alone=alone)
        _paint_dots(axes, one, colour=colour, marker=MARKERS[symbol], alone=alone)
    _legend(figure, columns=4 if alone else 3)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _frame(axes: Axes, series: Sequence[Series]) -> None:
    headline, what = titles("Pareto front", series)
    gain, metric = axis_labels(series)
    axes.set_xlabel(gain, color=TEXT)
    axes.set_ylabel(metric, color=TEXT)
    axes.set_xlim(-2, 102)
    finish(axes, headline, what)


def finish(axes: Axes, headline: str, what: str) -> None:
    """How all still figures look."""
    axes.set_title(headline, loc="left", pad=26, fontsize=14, color=TEXT)
    axes.annotate(
        what, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=QUIET
    )
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _paint_anchors(axes: Axes, one: Series, *, colour: str, alone: bool) -> None:
    anchors = one.spec.anchors
    for name, value, style in (("dense", anchors.dense, "--"), ("constant", anchors.constant, ":")):
        label = f"{name} {value:.3f}" if alone else None
        axes.axhline(value, color=colour, linewidth=1, linestyle=style, label=label, zorder=1)
    axes.scatter([0], [anchors.dense], s=130, c=colour, marker="*", zorder=5)


def _paint_front(axes: Axes, one: Series, *, colour: str, alone: bool) -> None:
    places, heights = one.stair()
    floor, _ = one.spec.reference_point
    if alone and len(places):
        axes.fill_between(
            PERCENT * places, floor, heights, color=colour, alpha=SHADE, linewidth=0, label="hypervolume"
        )
    label = "front" if alone else one.spec.name
    axes.plot(PERCENT * places, heights, color=colour, linewidth=1.8, label=label, zorder=2.5)


def _paint_dots(axes: Axes, one: Series, *, colour: str, marker: str, alone: bool) -> None:
    for layer in one.layers():
        x, y = xy(layer.dots)
        axes.scatter(
            x,
            y,
            s=(layer.size * POINTS_PER_PIXEL) ** 2,
            marker=marker,
            c="white" if layer.hollow else colour,
            edgecolors=colour,
            linewidths=1.6 if layer.on_front else 0,
            alpha=layer.opacity,
            label=layer.name if alone and layer.dots else None,
            zorder=4 if layer.on_front else 2,
        )


def _legend(figure: Figure, *, columns: int) -> None:
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=TEXT)
