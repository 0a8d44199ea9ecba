"""A front as HTML of a notebook: where its marks are."""

from __future__ import annotations

import re

import pytest

from pipeline.fronts.notebook import MARGIN, WIDTH, as_html


@pytest.mark.parametrize(
    ("gains", "places"),
    [
        ((0.0, 0.5, 1.0), (34, 210, 386)),  # 352 pixels for 0 to 100 %
        ((-0.6, 0.2, 1.0), (34, 210, 386)),  # and for -60 % (a network slower than the dense one) to 100 %
    ],
)
def test_all_networks_are_within_the_picture(gains: tuple[float, ...], places: tuple[int, ...]) -> None:
    text = as_html("a", ["metric"], [["0.8"]], [(gain, 0.8, True) for gain in gains], dense=0.9)
    assert [float(x) for x in re.findall(r'cx="([-0-9.]+)"', text)] == pytest.approx(places)
    assert (MARGIN, WIDTH) == (34, 420)
