"""A study's trials over their settings, on axes side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.fronts.figures.fronts import lay_out
from pipeline.fronts.figures.series import Series
from pipeline.fronts.figures.shades import shades
from pipeline.fronts.figures.trials import FAINT, MOST_LINES, place
from pipeline.fronts.numbers import short

if TYPE_CHECKING:
    import plotly.graph_objects as go


MOST_AXES = 4  # of settings, beside compression and metric: more cannot be read


def parallel_figure(one: Series, keys: Sequence[str], *, most: int = 2 * MOST_LINES) -> go.Figure:
    """Draw a line a trial over the first MOST_AXES settings that differ, and its recovered network's two objectives.

    Shown are the `most` with the best metric. Numbers run from the least to the largest (by their logarithm where they
    span a factor of 20 or more), choices are spread evenly. Bright lines have the better metric.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(
        figure,
        "Settings side by side",
        "one line a trial; bright = the better metric of its recovered network",
    )
    dots = [dot for dot in one.dots if dot.kind == "recovered"]
    columns: list[tuple[str, list[Any]]] = [(key, [dot.params.get(key) for dot in dots]) for key in keys]
    columns = [(key, values) for key, values in columns if len({str(value) for value in values}) > 1][
        :MOST_AXES
    ]
    columns += [("gain", [dot.gain for dot in dots]), ("metric", [dot.metric for dot in dots])]
    heights = [_heights(values) for _, values in columns]
    colours = shades([dot.metric for dot in dots], log=False)
    for at in np.argsort([dot.metric for dot in dots], kind="stable")[-most:]:
        dot = dots[int(at)]
        lines = [
            f"<b>trial {dot.trial}</b>",
            *(f"{key} {escape(short(values[int(at)]))}" for key, values in columns),
        ]
        figure.add_scatter(
            x=list(range(len(columns))),
            y=[column[int(at)] for column in heights],
            mode="lines+markers",
            line={"color": colours[int(at)], "width": 1.4},
            marker={"size": 4},
            opacity=FAINT,
            hovertemplate="<br>".join(lines) + "<extra></extra>",
            name=f"trial {dot.trial}",
            customdata=[place(one, dot)] * len(columns),
        )
    _lay_out_axes(figure, one, columns)
    return figure


def _lay_out_axes(figure: go.Figure, one: Series, columns: Sequence[tuple[str, list[Any]]]) -> None:
    """Label each axis with its name and its ends."""
    names = [key if key != "gain" else one.spec.second.short for key, _ in columns]
    ends = [_ends(values) for _, values in columns]
    labels = [
        f"<b>{name.replace('_', ' ')}</b><br>{low} … {high}"
        for name, (low, high) in zip(names, ends, strict=True)
    ]
    figure.update_layout(showlegend=False)
    figure.update_xaxes(
        tickangle=0,
        tickvals=list(range(len(columns))),
        ticktext=labels,
        showgrid=True,
        automargin=True,
        range=[-0.3, len(columns) - 0.7],
    )
    figure.update_yaxes(showticklabels=False, range=[-0.05, 1.05], showgrid=False, ticks="")


def _heights(values: Sequence[Any]) -> list[float | None]:
    """Scale values to 0 … 1 from the least to the largest; None where a trial has no such setting."""
    if any(isinstance(v, str | bool) for v in values):
        kinds = sorted({str(v) for v in values if v is not None})
        return [None if v is None else kinds.index(str(v)) / max(len(kinds) - 1, 1) for v in values]
    known = [float(v) for v in values if v is not None]
    low, high = min(known), max(known)
    if low > 0 and high / low >= 20:
        return [None if v is None else math.log(v / low) / math.log(high / low) for v in values]
    return [None if v is None else (float(v) - low) / ((high - low) or 1.0) for v in values]


def _ends(values: Sequence[Any]) -> tuple[str, str]:
    known = [v for v in values if v is not None]
    if any(isinstance(v, str | bool) for v in known):
        kinds = sorted({str(v) for v in known})
        return kinds[0], kinds[-1]
    return short(min(known)), short(max(known))
