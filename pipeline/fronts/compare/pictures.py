"""A comparison's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.fronts.compare.across import Standings
from pipeline.fronts.compare.comparison import Comparison
from pipeline.fronts.figures import Band, band_figure, interval_figure, rank_image, still
from pipeline.study.records import OBJECTIVES, StudySpec

if TYPE_CHECKING:
    import plotly.graph_objects as go


def bands_of(comparison: Comparison) -> list[Band]:
    """Return the groups' fronts, on validation rows."""
    return [
        Band(
            group.label,
            tuple(entry.values for entry in group.entries),
            group.spec.anchors.constant,
            group.spec.anchors.dense,
        )
        for group in comparison.groups
    ]


def comparison_figures(comparison: Comparison) -> list[go.Figure]:
    """Return two interactive figures: fronts with their bands, and hypervolumes with their intervals."""
    spec, panel = comparison.groups[0].spec, comparison.test or comparison.validation
    fronts = band_figure(
        bands_of(comparison),
        headline="Fronts",
        what=_what(spec) + " · on validation rows · the median of a group's seeds, its band from 25 to 75 %",
        metric_label=_metric(spec),
        gain_label=spec.second.label,
    )
    volumes = interval_figure(
        [(quality.label, quality.hypervolume) for quality in panel.qualities],
        headline="Hypervolume",
        what=f"mean over seeds with its 95 % interval, on {panel.rows} rows",
        label="hypervolume above the constant prediction",
    )
    return [fronts, volumes]


def comparison_image(comparison: Comparison, *, format: str = "png") -> bytes:
    """Return the picture of the fronts with their bands, as png or svg."""
    return still(comparison_figures(comparison)[0], kind=format)


def standings_image(standings: Standings, *, format: str = "png") -> bytes:
    """Return a critical-difference diagram, as png or svg."""
    ranking = standings.ranking
    groups: Sequence[Sequence[str]] = standings.indistinguishable
    return rank_image(standings.methods, ranking.ranks, ranking.critical_difference, groups, format=format)


def _what(spec: StudySpec) -> str:
    return f"task {spec.task}"


def _metric(spec: StudySpec) -> str:
    return f"{OBJECTIVES['metric'].label}: {spec.metric_name}"
