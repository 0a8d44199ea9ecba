"""The metrics of a front's points on validation, and of the same points confirmed on test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.fronts.figures.fronts import QUIET, lay_out
from pipeline.fronts.figures.series import COLOURS, PERCENT

if TYPE_CHECKING:
    import plotly.graph_objects as go


def promised_figure(
    rows: Sequence[tuple[float, float, float, float]], *, metric: str, gain: str
) -> go.Figure:
    """Return a figure of confirmed points.

    Args:
        rows: (gain, metric on validation, mean metric on test, half of its interval) of each point.
        metric: label of the metric.
        gain: label of the gain.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(
        figure,
        "Promised and found",
        "ring: on the rows that chose it; mark: mean over fresh seeds on test rows, 95 % interval",
    )
    gains = [PERCENT * row[0] for row in rows]
    reaches = [row[3] if math.isfinite(row[3]) else 0.0 for row in rows]
    for at, promised, found, _ in rows:
        figure.add_scatter(
            x=[PERCENT * at] * 2,
            y=[promised, found],
            mode="lines",
            line={"color": QUIET, "width": 1, "dash": "dot"},
            showlegend=False,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=gains,
        y=[row[1] for row in rows],
        mode="markers",
        name="promised (validation)",
        marker={"symbol": "circle-open", "size": 11, "color": COLOURS[1], "line": {"width": 2}},
        hovertemplate="promised <b>%{y:.4f}</b> at %{x:.1f} %<extra></extra>",
    )
    figure.add_scatter(
        x=gains,
        y=[row[2] for row in rows],
        mode="markers",
        name="found (test, fresh seeds)",
        marker={"symbol": "square", "size": 9, "color": COLOURS[0]},
        error_y={"type": "data", "array": reaches, "width": 6},
        hovertemplate="found <b>%{y:.4f}</b> at %{x:.1f} %<extra></extra>",
    )
    figure.update_xaxes(title=f"{gain}, %", range=[-2, 102], ticksuffix=" %")
    figure.update_yaxes(title=metric)
    return figure
