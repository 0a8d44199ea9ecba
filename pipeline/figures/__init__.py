"""Fronts as figures: plotly to explore, matplotlib to print."""

from pipeline.figures.fronts import as_html, front_figure, front_image, hypervolume_figure
from pipeline.figures.series import Dot, Series, dots

__all__ = ["Dot", "Series", "as_html", "dots", "front_figure", "front_image", "hypervolume_figure"]
