"""Average ranks of methods over tasks, and which of them do not differ significantly."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from pipeline.fronts.figures.fronts import GRID, QUIET, TEXT
from pipeline.fronts.figures.series import look
from pipeline.fronts.figures.still import DOTS_PER_INCH, STILL_INCHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def rank_image(
    methods: Sequence[str],
    ranks: Sequence[float],
    critical_difference: float,
    groups: Sequence[Sequence[str]],
    *,
    format: str = "png",
) -> bytes:
    """Return a critical-difference diagram (Demšar 2006, figure 1), as png or svg.

    Args:
        methods: names.
        ranks: average rank of each.
        critical_difference: two ranks farther apart than this differ significantly.
        groups: methods that do not differ significantly; each group is joined by a bar.
        format: png or svg.
    """
    from matplotlib.figure import Figure

    order = np.argsort(ranks, kind="stable")
    height = 1.1 + 0.28 * (len(methods) + len(groups))
    figure = Figure(figsize=(STILL_INCHES[0], height), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    of_method = dict(zip(methods, ranks, strict=True))
    for place, group in enumerate(groups):
        ends = [of_method[method] for method in group]
        axes.plot([min(ends) - 0.03, max(ends) + 0.03], [-0.5 - 0.35 * place] * 2, color=TEXT, linewidth=4)
    below = -1 - 0.35 * len(groups)
    for place, method in enumerate(order):
        colour, _ = look(int(method))
        axes.plot([ranks[method]] * 2, [0, below - 0.6 * place], color=colour, linewidth=1.2)
        axes.annotate(
            f"{methods[method]}  {ranks[method]:.2f}",
            (ranks[method], below - 0.6 * place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=TEXT,
        )
    _draw_scale(axes, critical_difference)
    axes.set_xlim(0.8, max(len(methods), 1 + critical_difference) + 0.8)
    axes.set_ylim(below - 0.6 * len(methods), 1.4)
    picture = BytesIO()
    figure.savefig(picture, format=format)
    return picture.getvalue()


def _draw_scale(axes: Axes, critical_difference: float) -> None:
    """Draw the axis of ranks on top; above its left end, the critical difference as a bar."""
    axes.plot([1, 1 + critical_difference], [0.7, 0.7], color=QUIET, linewidth=2)
    axes.annotate(
        f"critical difference {critical_difference:.2f}",
        (1, 0.7),
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=9,
        color=QUIET,
    )
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("average rank over tasks (1 = best)", color=TEXT)
    axes.grid(axis="x", color=GRID)
    axes.set_yticks([])
    for side in ("left", "right", "bottom"):
        axes.spines[side].set_visible(False)
