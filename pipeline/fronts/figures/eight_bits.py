"""Networks in 8 bits on a figure of fronts: over MB and ms, where they have a front of their own.

8 bits change no share of the encoder, so that over compression they would lie on their fp32 networks: there they are
not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.fronts.figures.series import Series
from pipeline.fronts.numbers import mb
from pipeline.study.pareto import front
from pipeline.study.store import Int8Scores

if TYPE_CHECKING:
    import plotly.graph_objects as go

NAME = "in 8 bits"
SIZE = 11
AXES = {"MB": "size_mb", "ms": "ms"}  # of the figure -> of what was measured


def own_front(measured: Sequence[Int8Scores], cost: str) -> list[Int8Scores]:
    """Return the networks that no other dominates in metric and a cost (`size_mb`, `ms`), by falling cost."""
    known = [each for each in measured if getattr(each, cost) is not None]
    if not known:
        return []
    values = np.array([(each.metric, -getattr(each, cost)) for each in known], dtype=np.float64)
    return [known[row] for row in front(values)]


def draw_int8(figure: go.Figure, one: Series, *, colour: str, alone: bool) -> None:
    """Draw a study's networks in 8 bits, and their fronts; over an axis that they have not they are absent."""
    if not one.int8:
        return
    group = NAME if alone else one.spec.name
    lines = {axis: own_front(one.int8, cost) for axis, cost in AXES.items()}
    for axis, found in lines.items():
        figure.add_scatter(
            x=[None] * len(found),
            y=[each.metric for each in found],
            mode="lines",
            line={"color": colour, "width": 1.5, "dash": "dot", "shape": "vh"},
            legendgroup=group,
            showlegend=False,
            hoverinfo="skip",
            meta={axis: [getattr(each, AXES[axis]) for each in found], "only": axis},
        )
    figure.add_scatter(
        x=[None] * len(one.int8),
        y=[each.metric for each in one.int8],
        name=f"{NAME} (over MB and ms)",
        legendgroup=group,
        showlegend=alone,
        mode="markers",
        marker={
            "symbol": "diamond-tall",
            "size": SIZE,
            "color": colour,
            "line": {"color": "white", "width": 1},
        },
        text=[_hover(each, one) for each in one.int8],
        customdata=[f"{one.spec.name}/{each.trial}/{each.point}" for each in one.int8],
        hovertemplate="%{text}<extra></extra>",
        meta={
            "MB": [each.size_mb for each in one.int8],
            "ms": [each.ms for each in one.int8],
            "only": "MB ms",
        },
    )


def _hover(each: Int8Scores, one: Series) -> str:
    times = "" if each.ms is None else f", {each.ms:.3g} ms (fp32 {each.fp32_ms:.3g} ms in the same engine)"
    return (
        f"<b>trial {each.trial}</b>, point {each.point}, int8 {each.kind}<br>{one.spec.metric_name} "
        f"<b>{each.metric:.4f}</b> (fp32 {each.fp32_metric:.4f})<br>{mb(each.size_mb)} MB{times}"
    )
