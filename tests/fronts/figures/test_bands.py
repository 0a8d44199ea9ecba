"""Bands against the definition of attainment; pictures hold their colours."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.fronts.figures import Band, band_figure, rank_image, still
from pipeline.fronts.figures.series import COLOURS

FRONTS = tuple(
    np.array(values) for values in ([(0.9, 0.0), (0.8, 0.5)], [(0.9, 0.1), (0.7, 0.6)], [(0.8, 0.3)])
)
BAND = Band("snip", FRONTS, constant=0.5, dense=0.9)
WORDS = {"headline": "Fronts", "what": "task toy", "metric_label": "metric", "gain_label": "compression"}


def test_the_median_line_is_the_second_best_of_three() -> None:
    x, y = BAND.lines()[1]
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    # second best left of each place: 0.9 at 0 (0.9, 0.9, 0.8), then 0.8 up to 30 % (0.9, 0.8, 0.8), 0.7 to 50 %
    assert corners[:6] == [(0, 0.9), (0, 0.8), (10, 0.8), (10, 0.8), (30, 0.8), (30, 0.7)]
    assert corners[-1] == (60, 0.5)


def test_a_figure_has_the_seeds_the_band_and_the_median() -> None:
    figure = band_figure([BAND], **WORDS)
    names = [trace.name for trace in figure.data if trace.name]
    assert names == ["snip (3 seeds)", "dashed: a group's dense network"]
    assert sum(trace.fill == "toself" for trace in figure.data) == 1
    alone = band_figure([Band("one", FRONTS[:1], 0.5, 0.9)], **WORDS)
    assert not any(trace.fill == "toself" for trace in alone.data)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures(kind: str) -> None:
    drawn = still(band_figure([BAND, Band("chance", FRONTS[:1], 0.5, 0.9)], **WORDS), kind=kind)
    ranked = rank_image(["snip", "chance"], [1.0, 2.0], 0.5, [("snip", "chance")], format=kind)
    if kind == "svg":
        assert b"<svg" in drawn
        assert b"<svg" in ranked
        return
    image = np.asarray(imread(BytesIO(drawn), format="png"))
    for colour in COLOURS[:2]:
        wanted = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        assert (np.abs(image[..., :3] - wanted).max(axis=-1) < 0.01).sum() > 100
