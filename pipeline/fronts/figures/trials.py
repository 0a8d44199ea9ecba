"""A study's trials as figures: their curves, and the growth of the front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.fronts.figures.fronts import add_steps, hover, lay_out
from pipeline.fronts.figures.series import Dot, Series, axis_labels, hypervolumes, xy
from pipeline.fronts.figures.shades import shades
from pipeline.study.pareto import front, hypervolume

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_LINES = 80  # trials whose lines are drawn: more are one cloud
FAINT = 0.75


def curves_figure(one: Series, *, colour_by: str = "penalty_strength", most: int = MOST_LINES) -> go.Figure:
    """Return every trial's curve and its recovered network, coloured by a setting (logarithmic)."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(
        figure,
        "Curves",
        f"one line a trial, coloured by its {colour_by}, dark = small; a mark where it recovered",
    )
    by_trial: defaultdict[int, list[Dot]] = defaultdict(list)
    for dot in one.dots:
        by_trial[dot.trial].append(dot)
    best = sorted(by_trial, key=lambda number: -_hypervolume(by_trial[number], one.spec.reference_point))
    shown = sorted(best[:most])
    colours = dict(
        zip(shown, shades([by_trial[number][0].params.get(colour_by) for number in shown]), strict=True)
    )
    for number in shown:
        _add_trial(figure, one, by_trial[number], colours[number])
    gain, metric = axis_labels([one])
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title=gain, range=[-2, 102], ticksuffix=" %")
    figure.update_yaxes(title=metric)
    return figure


def _add_trial(figure: go.Figure, one: Series, dots: Sequence[Dot], colour: str) -> None:
    """Draw one trial: its curve of each round, and its recovered network."""
    number = dots[0].trial
    for round_ in sorted({dot.round for dot in dots}):
        curve = sorted((d for d in dots if d.kind == "curve" and d.round == round_), key=lambda d: d.gain)
        x, y = xy(curve)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": colour, "width": 1.4},
            opacity=FAINT,
            name=f"trial {number}",
            legendgroup=str(number),
            hovertemplate=f"<b>trial {number}</b>, curve: %{{y:.4f}} at %{{x:.1f}} %<extra></extra>",
            customdata=[place(one, dot) for dot in curve],
        )
    recovered = [dot for dot in dots if dot.kind == "recovered"]
    x, y = xy(recovered)
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": colour, "size": 9},
        name=f"trial {number}",
        legendgroup=str(number),
        text=[hover(dot, one.spec) for dot in recovered],
        hovertemplate="%{text}<extra></extra>",
        customdata=[place(one, dot) for dot in recovered],
    )


def hours_figure(series: Sequence[Series], seconds: Sequence[Mapping[int, float]]) -> go.Figure:
    """Return a figure of the hypervolume over the hours that trials trained; `seconds` by trial number, per study."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, "Hypervolume over hours", "hours of all trials together, whatever ran side by side")
    for index, (one, spent) in enumerate(zip(series, seconds, strict=True)):
        numbers, found = hypervolumes(one)
        ends = [sum(s for number, s in spent.items() if number <= last) / 3600 for last in numbers]
        add_steps(figure, one, index, ends, found, hover="%{x:.2f} h: <b>%{y:.4f}</b>")
    figure.update_layout(showlegend=len(series) > 1)
    figure.update_xaxes(title="hours of training", rangemode="tozero")
    figure.update_yaxes(title="hypervolume / (dense − constant)")
    return figure


def place(one: Series, dot: Dot) -> str:
    """Return the id of a network on the page, study/trial/point, by which a clicked mark is found."""
    return f"{one.spec.name}/{dot.trial}/{dot.point}"


def _hypervolume(dots: Sequence[Dot], reference: tuple[float, float]) -> float:
    values = np.array([(dot.metric, dot.gain) for dot in dots])
    return hypervolume(values[front(values)], reference)
