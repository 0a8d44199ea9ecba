"""A study's trials as pictures: their curves, their settings side by side, what decides, how penalties do."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.figures.fronts import QUIET, hover, lay_out
from pipeline.figures.series import COLOURS, PERCENT, Dot, Series, axis_labels, hypervolumes, look, xy
from pipeline.pareto import front, hypervolume

if TYPE_CHECKING:
    import plotly.graph_objects as go

# After cividis of Nuñez, Anderton and Renslow (PLOS ONE 13, 2018), without its light end, which vanishes on white, and
# with its dark end lifted: lines show on a dark page, too.
SCALE = ("#3B6AA0", "#5F7396", "#7F7F8C", "#9F8F7E", "#C0A86A", "#DDC34F")
MOST_LINES = 80  # trials whose lines are drawn: more are one cloud
FAINT = 0.75
MOST_SETTINGS, LEAST_SHARE = 10, 0.01  # that a figure of importance shows


def curves_figure(one: Series, *, colour_by: str = "penalty_strength", most: int = MOST_LINES) -> go.Figure:
    """Every trial's curve, and where its network was after recovery; coloured by a setting (logarithmic)."""
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
    best = sorted(by_trial, key=lambda number: -_worth(by_trial[number], one.spec.reference_point))
    shown = sorted(best[:most])
    colours = dict(
        zip(shown, _shades([by_trial[number][0].params.get(colour_by) for number in shown]), strict=True)
    )
    for number in shown:
        dots = by_trial[number]
        for round_ in sorted({dot.round for dot in dots}):
            curve = sorted((d for d in dots if d.kind == "curve" and d.round == round_), key=lambda d: d.gain)
            x, y = xy(curve)
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": colours[number], "width": 1.4},
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
            marker={"color": colours[number], "size": 9},
            name=f"trial {number}",
            legendgroup=str(number),
            text=[hover(dot, one.spec) for dot in recovered],
            hovertemplate="%{text}<extra></extra>",
            customdata=[place(one, dot) for dot in recovered],
        )
    gain, metric = axis_labels([one])
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title=gain, range=[-2, 102], ticksuffix=" %")
    figure.update_yaxes(title=metric)
    return figure


def hours_figure(series: Sequence[Series], seconds: Sequence[Mapping[int, float]]) -> go.Figure:
    """How the fronts grew over the hours that their trials trained; `seconds` by trial number, a mapping a study."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(figure, "Hypervolume over hours", "hours of all trials together, whatever ran side by side")
    for index, (one, spent) in enumerate(zip(series, seconds, strict=True)):
        numbers, found = hypervolumes(one)
        colour, symbol = look(index)
        ends = [sum(s for number, s in spent.items() if number <= last) / 3600 for last in numbers]
        figure.add_scatter(
            x=ends,
            y=found,
            name=one.spec.name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "shape": "hv"},
            marker={"symbol": symbol, "size": 7},
            hovertemplate="%{x:.2f} h: <b>%{y:.4f}</b><extra></extra>",
        )
    figure.update_layout(showlegend=len(series) > 1)
    figure.update_xaxes(title="hours of training", rangemode="tozero")
    figure.update_yaxes(title="hypervolume / (dense − constant)")
    return figure


def parallel_figure(one: Series, keys: Sequence[str], *, most: int = 2 * MOST_LINES) -> go.Figure:
    """Settings, compression and metric of every trial's recovered network on axes side by side, a line a trial.

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
    columns = [(key, values) for key, values in columns if len({str(value) for value in values}) > 1]
    columns += [("gain", [dot.gain for dot in dots]), ("metric", [dot.metric for dot in dots])]
    heights = [_heights(values) for _, values in columns]
    colours = _shades([dot.metric for dot in dots], log=False)
    for at in np.argsort([dot.metric for dot in dots], kind="stable")[-most:]:
        dot = dots[int(at)]
        said = [
            f"<b>trial {dot.trial}</b>",
            *(f"{key} {escape(_short(values[int(at)]))}" for key, values in columns),
        ]
        figure.add_scatter(
            x=list(range(len(columns))),
            y=[column[int(at)] for column in heights],
            mode="lines+markers",
            line={"color": colours[int(at)], "width": 1.4},
            marker={"size": 4},
            opacity=FAINT,
            hovertemplate="<br>".join(said) + "<extra></extra>",
            name=f"trial {dot.trial}",
            customdata=[place(one, dot)] * len(columns),
        )
    names = [key if key != "gain" else one.spec.second.short for key, _ in columns]
    ends = [_ends(values) for _, values in columns]
    labels = [f"<b>{name}</b><br>{low} … {high}" for name, (low, high) in zip(names, ends, strict=True)]
    figure.update_layout(showlegend=False)
    figure.update_xaxes(
        tickvals=list(range(len(columns))),
        ticktext=labels,
        showgrid=True,
        automargin=True,
        range=[-0.3, len(columns) - 0.7],
    )
    figure.update_yaxes(showticklabels=False, range=[-0.05, 1.05], showgrid=False, ticks="")
    return figure


def importance_figure(found: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """What decides metric and gain: each setting's share of their variance over trials."""
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


def penalty_figure(
    bands: Sequence[tuple[float, float, float, float]],
    *,
    key: str,
    good: tuple[float, float],
    of: str = "",
    told: str = "bands of equally many trials, ± one standard error; shaded: as good as the best",
) -> go.Figure:
    """What trials of each range of a setting are worth: (low, high, hypervolume, standard error) each.

    `of` says whose they are, `told` what they tell.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(
        figure,
        f"Hypervolume by {key}" + (f" · {of}" if of else ""),
        told,
    )
    _shade(figure, bands, good)
    best = max(bands, key=lambda band: band[2])
    for low, high, worth, error in bands:
        middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
        is_best = (low, high, worth, error) == best
        name, colour = ("best", COLOURS[2]) if is_best else ("others", COLOURS[0])
        figure.add_scatter(
            x=[low, high],
            y=[worth, worth],
            mode="lines",
            line={"color": colour, "width": 2.5},
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[middle],
            y=[worth],
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
            hovertemplate=f"{low:.3g} to {high:.3g}: <b>{worth:.4f}</b> ± {error:.4f}<extra></extra>",
        )
    positive = all(low > 0 for low, *_ in bands)
    figure.update_xaxes(title=key, type="log" if positive else "linear")
    figure.update_yaxes(title="hypervolume above the constant prediction")
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    return figure


def _shade(
    figure: go.Figure, bands: Sequence[tuple[float, float, float, float]], good: tuple[float, float]
) -> None:
    """The values that are as good as the best, from top to bottom; the best's standard error, from side to side."""
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
    _, _, worth, error = max(bands, key=lambda band: band[2])
    ends = [min(low for low, *_ in bands), max(high for _, high, *_ in bands)]
    figure.add_scatter(
        x=ends,
        y=[worth - error] * 2,
        mode="lines",
        name="one standard error below the best",
        line={"color": COLOURS[2], "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )


def promised_figure(
    rows: Sequence[tuple[float, float, float, float]], *, metric: str, gain: str
) -> go.Figure:
    """Confirmed points: (gain, promised on validation, mean on test, half of its interval) each."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lay_out(
        figure,
        "Promised and found",
        "ring: on the rows that chose it; mark: mean over fresh seeds on test rows, 95 % interval",
    )
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
        x=[PERCENT * row[0] for row in rows],
        y=[row[1] for row in rows],
        mode="markers",
        name="promised (validation)",
        marker={"symbol": "circle-open", "size": 11, "color": COLOURS[1], "line": {"width": 2}},
        hovertemplate="promised <b>%{y:.4f}</b> at %{x:.1f} %<extra></extra>",
    )
    figure.add_scatter(
        x=[PERCENT * row[0] for row in rows],
        y=[row[2] for row in rows],
        mode="markers",
        name="found (test, fresh seeds)",
        marker={"symbol": "square", "size": 9, "color": COLOURS[0]},
        error_y={
            "type": "data",
            "array": [row[3] if math.isfinite(row[3]) else 0.0 for row in rows],
            "width": 6,
        },
        hovertemplate="found <b>%{y:.4f}</b> at %{x:.1f} %<extra></extra>",
    )
    figure.update_xaxes(title=f"{gain}, %", range=[-2, 102], ticksuffix=" %")
    figure.update_yaxes(title=metric)
    return figure


def place(one: Series, dot: Dot) -> str:
    """What a mark is found by, when it is clicked: study/trial/point."""
    return f"{one.spec.name}/{dot.trial}/{dot.point}"


def _worth(dots: Sequence[Dot], reference: tuple[float, float]) -> float:
    values = np.array([(dot.metric, dot.gain) for dot in dots])
    return hypervolume(values[front(values)], reference)


def _shades(values: Sequence[Any], *, log: bool = True) -> list[str]:
    """A colour of SCALE for each number; the darkest for what is none."""
    numbers = np.array([float(v) if isinstance(v, int | float) else math.nan for v in values])
    scaled = np.log(np.where(numbers > 0, numbers, math.nan)) if log else numbers
    known = scaled[np.isfinite(scaled)]
    if not len(known) or np.ptp(known) == 0:
        return [SCALE[0]] * len(values)
    share = np.nan_to_num((scaled - known.min()) / np.ptp(known))
    return [_mix(float(at) * (len(SCALE) - 1)) for at in share]


def _mix(position: float) -> str:
    start = min(int(position), len(SCALE) - 2)
    part = position - start
    ends = [[int(SCALE[at][i : i + 2], 16) for i in (1, 3, 5)] for at in (start, start + 1)]
    return "#" + "".join(f"{round(a + part * (b - a)):02X}" for a, b in zip(*ends, strict=True))


def _heights(values: Sequence[Any]) -> list[float | None]:
    """0 … 1 from the least to the largest; None where a trial has no such setting."""
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
    return _short(min(known)), _short(max(known))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else ("–" if value is None else str(value))


def _most(found: Mapping[str, Mapping[str, float]], key: str) -> float:
    return max(shares.get(key, 0.0) for shares in found.values())
