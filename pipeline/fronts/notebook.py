"""A front as a notebook shows it: a small figure and a table, one piece of HTML without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 420, 180, 34  # pixels
INK, PALE = "#1f77b4", "#999"


def as_html(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    dots: Sequence[tuple[float, float, bool]],
    *,
    dense: float,
) -> str:
    """Return a figure and a table.

    Args:
        title: above both.
        heads: of the columns.
        rows: cells of a row as text.
        dots: gain (0 to 1), metric, and whether the network was trained after its cut.
        dense: the metric of the dense network, a dashed line.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    figure = _figure(dots, dense) if dots else ""
    return f"<div><b>{escape(title)}</b><br>{figure}<table><tr>{head}</tr>{body}</table></div>"


def _figure(dots: Sequence[tuple[float, float, bool]], dense: float) -> str:
    heights = [dense, *(metric for _, metric, _ in dots)]
    low, high = min(heights), max(heights)
    span = high - low or 1.0
    left = min(0.0, *(gain for gain, _, _ in dots))  # below 0: slower than the dense network

    def x(gain: float) -> float:
        return MARGIN + (gain - left) / (1 - left) * (WIDTH - 2 * MARGIN)

    def y(metric: float) -> float:
        return HEIGHT - MARGIN - (metric - low) / span * (HEIGHT - 2 * MARGIN)

    marks = "".join(
        f'<circle cx="{x(gain):.1f}" cy="{y(metric):.1f}" r="4" stroke="{INK}" '
        f'fill="{INK if trained else "none"}"/>'
        for gain, metric, trained in dots
    )
    texts = "".join(
        f'<text x="{at:.0f}" y="{HEIGHT - 12}" font-size="11" text-anchor="middle" fill="{PALE}">{share} %</text>'
        for share, at in ((share, x(share / 100)) for share in (0, 25, 50, 75, 100))
    )
    sides = "".join(
        f'<text x="2" y="{y(value) + 4:.1f}" font-size="11" fill="{PALE}">{value:.3f}</text>'
        for value in dict.fromkeys((low, high))
    )
    line = (
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y(dense):.1f}" y2="{y(dense):.1f}" stroke="{PALE}" '
        'stroke-dasharray="4"/>'
    )
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img">{line}{texts}{sides}{marks}</svg><br>'
