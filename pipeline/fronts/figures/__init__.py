"""Fronts as figures: plotly to explore, matplotlib to print."""

from pipeline.fronts.figures.bands import Band, band_figure, interval_figure
from pipeline.fronts.figures.eight_bits import own_front
from pipeline.fronts.figures.fronts import front_figure, hypervolume_figure
from pipeline.fronts.figures.pages import as_html, plotly_script
from pipeline.fronts.figures.parallel import parallel_figure
from pipeline.fronts.figures.promised import promised_figure
from pipeline.fronts.figures.ranks import rank_image
from pipeline.fronts.figures.series import CURVE_DOTS, Dot, Series, dots
from pipeline.fronts.figures.settings import importance_figure, penalty_figure
from pipeline.fronts.figures.still import still
from pipeline.fronts.figures.trials import curves_figure, hours_figure

__all__ = [
    "CURVE_DOTS",
    "Band",
    "Dot",
    "Series",
    "as_html",
    "band_figure",
    "curves_figure",
    "dots",
    "front_figure",
    "hours_figure",
    "hypervolume_figure",
    "importance_figure",
    "interval_figure",
    "own_front",
    "parallel_figure",
    "penalty_figure",
    "plotly_script",
    "promised_figure",
    "rank_image",
    "still",
]
