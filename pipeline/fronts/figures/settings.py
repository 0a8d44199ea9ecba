"""Importance of settings, and the hypervolume of trials by the range of a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.fronts.figures.fronts import lay_out
from pipeline.fronts.figures.series import COLOURS, PERCENT

if TYPE_CHECKING:
    import plotly.graph_objects as go

Range = tuple[float, float, float, float]  # low, high, hypervolume, standard error
MOST_SETTINGS, LEAST_SHARE = 10, 0.01  # that a figure of importance shows


def importance_figure(found: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Return a figure of each setting's share of the variance of metric and gain over trials."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, "What decides", "each setting's share in the variance over trials (fANOVA)")
    order = sorted({key for shares in found.values() for key in shares}, key=lambda key: _most(found, key))
    order = [key for key in order[-MOST_SETTINGS:] if _most(found, key) >= LEAST_SHARE]
    for index, (name, shares) in enumerate(found.items()):
        figure.add_bar(
            y=order,
            x=[PERCENT * shares.get(key, 0.0) for key in order],
            orientation="h",
            name=name,
            marker={"color": COLOURS[index % len(COLOURS)]},
            hovertemplate="%{y}: %{x:.0f} % of " + name + "<extra></extra>",
        )
    figure.update_xaxes(title="share", ticksuffix=" %", rangemode="tozero")
    figure.update_yaxes(automargin=True, showgrid=False)
    figure.update_layout(height=170 + 40 * len(order), margin={"l": 20})
    return figure


def _most(found: Mapping[str, Mapping[str, float]], key: str) -> float:
    return max(shares.get(key, 0.0) for shares in found.values())


def penalty_figure(
    bands: Sequence[Range],
    *,
    key: str,
    good: tuple[float, float],
    of: str = "",
    subtitle: str = "bands of equally many trials, ± one standard error; shaded: as good as the best",
) -> go.Figure:
    """Return a figure of the hypervolume of trials in each range of a setting.

    Args:
        bands: (low, high, hypervolume, standard error) of each range.
        key: the setting.
        good: lowest and highest value that are as good as the best.
        of: the studies that the trials belong to, for the headline.
        subtitle: the conclusion.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(
        figure,
        f"Hypervolume by {key}" + (f" · {of}" if of else ""),
        subtitle,
    )
    _shade(figure, bands, good)
    best = max(bands, key=lambda band: band[2])
    for band in bands:
        _add_band(figure, band, is_best=band == best)
    positive = all(low > 0 for low, *_ in bands)
    figure.update_xaxes(title=key, type="log" if positive else "linear")
    figure.update_yaxes(title="hypervolume above the constant prediction")
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    return figure


def _add_band(figure: go.Figure, band: Range, *, is_best: bool) -> None:
    low, high, volume, error = band
    middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
    name, colour = ("best", COLOURS[2]) if is_best else ("others", COLOURS[0])
    figure.add_scatter(
        x=[low, high],
        y=[volume, volume],
        mode="lines",
        line={"color": colour, "width": 2.5},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[middle],
        y=[volume],
        mode="markers",
        name=name,
        legendgroup=name,
        marker={
            "color": colour,
            "size": 14 if is_best else 9,
            "symbol": "star" if is_best else "circle",
        },
        showlegend=is_best,
        error_y={"type": "data", "array": [error], "thickness": 2, "width": 6},
        hovertemplate=f"{low:.3g} to {high:.3g}: <b>{volume:.4f}</b> ± {error:.4f}<extra></extra>",
    )


def _shade(figure: go.Figure, bands: Sequence[Range], good: tuple[float, float]) -> None:
    """Shade the values that are as good as the best; mark one standard error below the best."""
    figure.add_scatter(
        x=[good[0], good[0], good[1], good[1]],
        y=[0, 1, 1, 0],
        yaxis="y2",
        fill="toself",
        mode="none",
        fillcolor="rgba(0,158,115,0.15)",
        hoverinfo="skip",
        showlegend=False,
    )
    _, _, volume, error = max(bands, key=lambda band: band[2])
    ends = [min(low for low, *_ in bands), max(high for _, high, *_ in bands)]
    figure.add_scatter(
        x=ends,
        y=[volume - error] * 2,
        mode="lines",
        name="one standard error below the best",
        line={"color": COLOURS[2], "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
