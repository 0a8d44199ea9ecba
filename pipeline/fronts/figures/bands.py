"""Several groups of fronts on one figure, a front a seed: the median front, and between which it mostly lies.

The line is the front that half of a group's seeds attain, the band reaches from what a quarter of them to what three
quarters attain (Grunert da Fonseca, Fonseca and Hall 2001), the faint lines are the seeds' own fronts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.fronts.figures.fronts import QUIET, lay_out
from pipeline.fronts.figures.series import PERCENT, look
from pipeline.fronts.figures.shades import transparent
from pipeline.fronts.statistics import Interval, attained, attainment_curve
from pipeline.study.records import FloatArray

if TYPE_CHECKING:
    import plotly.graph_objects as go

BAND = 0.2  # opacity
THIN = 0.35  # opacity of a seed's own line
MARKS = 12  # on a median front, at most
DENSE = "dashed: a group's dense network"
SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Band:
    """A group of fronts: `fronts` are [F, 2] each, (metric, gain); left of and below all of them is `constant`."""

    label: str
    fronts: tuple[FloatArray, ...]
    constant: float
    dense: float

    def lines(self) -> list[tuple[FloatArray, FloatArray]]:
        """Return (gain in %, metric) along the corners of what 25, 50 and 75 % of the fronts attain."""
        gains = self._gains(self.fronts)
        heights = attained(self.fronts, gains, beyond=self.constant)
        return [_stairs(gains, attainment_curve(heights, share), self.constant) for share in SHARES]

    def own(self) -> list[tuple[FloatArray, FloatArray]]:
        """Return the same line for each front alone."""
        found = []
        for values in self.fronts:
            gains = self._gains([values])
            heights = attained([values], gains, beyond=self.constant)
            found.append(_stairs(gains, heights[0], self.constant))
        return found

    def _gains(self, fronts: Sequence[FloatArray]) -> FloatArray:
        return np.unique(np.concatenate([np.zeros(1), *(values[:, 1] for values in fronts)]))


def _stairs(gains: FloatArray, heights: FloatArray, floor: float) -> tuple[FloatArray, FloatArray]:
    """Return the corners of a curve of heights[k] up to gains[k]; at its end it falls to the floor."""
    places = np.repeat(gains, 2)
    return PERCENT * places, np.append(np.repeat(heights, 2)[1:], floor)


def band_figure(
    bands: Sequence[Band], *, headline: str, what: str, metric_label: str, gain_label: str
) -> go.Figure:
    """Return an interactive figure of the groups' fronts."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, headline, what)
    for index, band in enumerate(bands):
        _add_band(figure, band, *look(index))
    dashed = {"color": QUIET, "width": 1, "dash": "dash"}
    figure.add_scatter(x=[None], y=[None], mode="lines", line=dashed, name=DENSE)  # for the legend alone
    figure.update_xaxes(title=f"{gain_label}, %", range=[-2, 102], ticksuffix=" %")
    figure.update_yaxes(title=metric_label)
    return figure


def _add_band(figure: go.Figure, band: Band, colour: str, symbol: str) -> None:
    """Draw one group: fronts and band of its seeds, if there are several; its median; its dense network."""
    low, median, high = band.lines()
    silent = {"legendgroup": band.label, "showlegend": False, "hoverinfo": "skip"}
    if len(band.fronts) > 1:
        for x, y in band.own():
            line = {"color": colour, "width": 1}
            figure.add_scatter(x=x, y=y, mode="lines", line=line, opacity=THIN, **silent)
        x, y = (np.concatenate((low[at], high[at][::-1])) for at in (0, 1))
        figure.add_scatter(
            x=x, y=y, fill="toself", fillcolor=transparent(colour, BAND), mode="none", **silent
        )
    figure.add_scatter(
        x=median[0],
        y=median[1],
        mode="lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"symbol": symbol, "size": 7, "maxdisplayed": MARKS},
        name=f"{band.label} ({_seeds(band)})",
        legendgroup=band.label,
        hovertemplate=f"<b>{band.label}</b>, median of {_seeds(band)}<br>%{{y:.4f}} at %{{x:.1f}} %<extra></extra>",
    )
    dashed = {"color": colour, "width": 1, "dash": "dash"}
    figure.add_scatter(x=[0, PERCENT], y=[band.dense] * 2, mode="lines", line=dashed, **silent)


def _seeds(band: Band) -> str:
    return f"{len(band.fronts)} seeds" if len(band.fronts) > 1 else "1 seed"


def interval_figure(
    rows: Sequence[tuple[str, Interval]], *, headline: str, what: str, label: str
) -> go.Figure:
    """Return a figure of means with their 95 % intervals, one below the other."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, headline, what)
    for index, (name, found) in enumerate(rows):
        colour, symbol = look(index)
        reach = found.high - found.mean
        figure.add_scatter(
            x=[found.mean],
            y=[name],
            mode="markers",
            name=name,
            showlegend=False,
            marker={"color": colour, "symbol": symbol, "size": 12},
            error_x={
                "type": "data",
                "array": [reach if np.isfinite(reach) else 0.0],
                "thickness": 2,
                "width": 8,
            },
            hovertemplate="<b>%{y}</b><br>%{x:.4f}"
            + (f", {found.low:.4f} to {found.high:.4f}" if np.isfinite(reach) else ", one seed: no interval")
            + "<extra></extra>",
        )
    figure.update_xaxes(title=label)
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5], automargin=True, showgrid=False)
    figure.update_layout(height=170 + 46 * len(rows), margin={"b": 60})
    return figure
