"""Fronts as figures: plotly to explore, matplotlib to print."""

from pipeline.figures.bands import Band, band_figure, band_image, interval_figure, rank_image
from pipeline.figures.fronts import as_html, front_figure, front_image, hypervolume_figure
from pipeline.figures.series import Dot, Series, dots

__all__ = [
    "Band",
    "Dot",
    "Series",
    "as_html",
    "band_figure",
    "band_image",
    "dots",
    "front_figure",
    "front_image",
    "hypervolume_figure",
    "interval_figure",
    "rank_image",
]
