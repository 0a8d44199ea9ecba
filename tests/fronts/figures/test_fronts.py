"""Figures hold what they should, need no network and no display, and can be told apart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.fronts.figures import front_figure, hypervolume_figure, still
from pipeline.fronts.figures.series import COLOURS, Series, dots
from pipeline.fronts.front import load_front
from pipeline.study.records import OBJECTIVES
from tests.kit.tracking import PARAMS, SPEC, record, series_of, stored, trials


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return Series(SPEC, dots(stored(tmp_path_factory.mktemp("store"), trials()).points()))


def marks(figure: Any) -> dict[str, list[tuple[float, float]]]:
    """(compression in %, metric) of the marks of each trace, by its name."""
    found = (trace for trace in figure.data if trace.mode == "markers" and trace.name)
    return {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in found}


def test_every_network_is_where_it_belongs(series: Series) -> None:
    # by hand from the kit's trials: 0.89 @ 0 %, 0.85 @ 25 %, 0.8 @ 50 %, 0.6 @ 75 %, 0.3 @ 90 %, 0.15 @ 100 %
    found = marks(front_figure([series]))
    assert found["front: cut, then trained on"] == [(25.0, 0.85), (50.0, 0.8), (90.0, 0.3)]
    assert found["front: cut only"] == [(0.0, 0.89), (75.0, 0.6), (100.0, 0.15)]
    assert found["cut, then trained on"] == [(10.0, 0.4)]
    assert sorted(found["cut only"]) == [(0.0, 0.5), (0.0, 0.87), (0.0, 0.88), (50.0, 0.7)]


def test_anchors_are_lines_and_dense_a_star(series: Series) -> None:
    traces = {trace.name: trace for trace in front_figure([series]).data}
    assert list(traces["dense network: 0.900"].y) == [0.9, 0.9]
    assert list(traces["always the same answer: 0.100"].y) == [0.1, 0.1]
    stars = [t for t in front_figure([series]).data if t.marker.symbol == "star"]
    assert [(list(t.x), list(t.y)) for t in stars] == [([0], [0.9])]


def test_hover_shows_what_a_network_is(series: Series) -> None:
    traces = {trace.name: trace for trace in front_figure([series]).data}
    text = traces["front: cut, then trained on"].text[0]
    for told in (
        "trial 0",
        "recovered",
        "accuracy <b>0.8500</b>",
        "25.0 %",
        "penalty_strength 0.0123",
        "threshold 0.3",
        "spectral_bound relative",
        "bound_relative 0.75",
    ):
        assert told in text
    assert "bound_absolute" not in text  # not in force
    assert "threshold 0.1" in traces["front: cut only"].text[1]  # the curve point's own: trial 1 at 75 %


@pytest.mark.parametrize("objective", ["compression", "sparsity"])
def test_hover_and_front_agree_on_the_target_of_a_curve_point(tmp_path: Path, objective: str) -> None:
    """A curve point is the trial whose target is the share that it has reached; the recovered one has the trial's."""
    spec = replace(SPEC, objective=objective)
    params = {key: value for key, value in PARAMS.items() if key != "threshold"} | {"target": 0.5}
    drawn = replace(record(0, (0.88, 0.125), (0.7, 0.75), recovered=(0.8, 0.5)), params=params)
    shares = [
        replace(p, measurement=replace(p.measurement, sparsity=p.measurement.compression))
        for p in drawn.points
    ]
    table = stored(tmp_path, [replace(drawn, points=tuple(shares))], spec)
    shown = {
        place: text
        for trace in front_figure([Series(spec, dots(table.points()))]).data
        if trace.text
        for place, text in zip(trace.customdata, trace.text, strict=True)
    }
    found = load_front(spec.name, store=tmp_path)
    assert [(p.kind, p.params["target"]) for p in found.points] == [
        ("curve", 0.125),
        ("recovered", 0.5),
        ("curve", 0.75),
    ]
    for point in found.points:
        text = shown[f"{spec.name}/{point.trial}/{point.point}"]
        assert f"target {point.params['target']}<br>" in text or f"target {point.params['target']} ·" in text


def test_titles_and_axes(series: Series) -> None:
    layout = front_figure([series]).layout
    assert layout.title.text == "Pareto front: toy-snip"
    assert layout.title.subtitle.text == "task glue/toy · model tiny · method snip"
    assert layout.xaxis.title.text.startswith(OBJECTIVES["compression"].label)
    assert layout.yaxis.title.text.startswith(OBJECTIVES["metric"].label)


def test_one_study_names_its_layers_and_several_their_studies(series: Series) -> None:
    other = replace(series, spec=replace(SPEC, name="toy-chance"))

    def legend(shown: list[Series]) -> list[str]:
        return [t.name for t in front_figure(shown).data if t.showlegend is not False]

    assert {"front", "cut only", "front: cut, then trained on"} <= set(legend([series]))
    marks = ["filled: cut, then trained on", "hollow: cut only", "star, dashes: dense network"]
    assert legend([series, other]) == ["toy-snip", "toy-chance", *marks]


def test_hypervolume_figure_never_falls(series: Series) -> None:
    (trace,) = hypervolume_figure([series]).data
    assert list(trace.x) == [0, 1, 3, 5]
    assert (np.diff(trace.y) >= 0).all()
    # by hand: (0.89 - 0.85) * 0 + ... : 0.25 * 0.75 + 0.25 * 0.7 + 0.25 * 0.5 + 0.15 * 0.2 + 0.1 * 0.05, over 0.8
    assert trace.y[-1] == pytest.approx((0.1875 + 0.175 + 0.125 + 0.03 + 0.005) / 0.8)


def picture(shown: list[Series]) -> np.ndarray:
    return np.asarray(imread(BytesIO(still(front_figure(shown))), format="png"))


def has(colour: str, image: np.ndarray) -> bool:
    wanted = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return bool((np.abs(image[..., :3] - wanted).max(axis=-1) < 0.01).sum() > 100)


def test_a_picture_shows_every_study_in_its_colour(series: Series) -> None:
    other = series_of((0.7, 0.4), (0.5, 0.8), spec=replace(SPEC, name="toy-chance"))
    alone, both = picture([series]), picture([series, other])
    assert alone.shape[:2] == both.shape[:2] == (1200, 1800)
    assert (has(COLOURS[0], alone), has(COLOURS[1], alone)) == (True, False)
    assert (has(COLOURS[0], both), has(COLOURS[1], both)) == (True, True)


@pytest.mark.parametrize("draw", [front_figure, hypervolume_figure, lambda shown: still(front_figure(shown))])
def test_a_study_without_a_finished_trial_is_drawn_and_none_is_refused(draw: Callable[..., Any]) -> None:
    assert draw([series_of()])
    with pytest.raises(ValueError, match="at least one study"):
        draw([])


def test_a_picture_leaves_pyplot_alone() -> None:
    code = (
        "import sys; from pipeline.fronts.figures import front_figure, still\n"
        "from tests.kit.tracking import series_of\n"
        "still(front_figure([series_of((0.5, 0.5))])); print('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "False"


def test_a_still_picture_shows_the_same_part(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, drawn = front_figure([series]), list[Figure]()
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **kw: (drawn.append(self), savefig(self, *a, **kw))
    )
    still(figure)
    (axes,) = drawn[0].axes
    assert (*axes.get_xlim(), *axes.get_ylim()) == pytest.approx((-2, 102, *figure.layout.meta["zoom"]))


def test_a_front_is_drawn_where_it_lives_and_over_other_axes(series: Series) -> None:
    """No line stands before the first point or after the last; the full range is kept for a button."""
    figure = front_figure([series])
    line = next(trace for trace in figure.data if trace.name == "front")
    assert list(zip(line.x, line.y, strict=True)) == [
        (0.0, 0.89), (25.0, 0.85), (50.0, 0.8), (75.0, 0.6), (90.0, 0.3), (100.0, 0.15),
    ]  # fmt: skip
    assert line.line.shape == "vh"  # down at a point, then on to the next
    assert line.meta["MB"] == [dot.size_mb for dot in series.front]
    assert line.meta["MACs"] == [dot.macs / 1e6 for dot in series.front]
    # the front's metrics and the dense one, 0.15 to 0.9, with 8 % of that on both sides; all down to the constant
    meta = figure.layout.meta
    assert meta["zoom"] == pytest.approx([0.15 - 0.06, 0.9 + 0.06])
    assert meta["full"] == pytest.approx([0.1 - 0.06, 0.9 + 0.06])
    assert list(figure.layout.yaxis.range) == pytest.approx(meta["zoom"])
    assert list(figure.layout.xaxis.range) == [-2, 102], "from the dense network on"
    assert meta["axes"]["MB"]["full"] == pytest.approx([0, 1.05 * SPEC.anchors.dense_size_mb])
