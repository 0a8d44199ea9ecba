"""What stands on a figure: the hypervolume over trials, every network is drawn once, studies are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fronts.figures.series import (
    COLOURS,
    CURVE_DOTS,
    SYMBOLS,
    Dot,
    Series,
    axis_labels,
    dots,
    hypervolumes,
    look,
    titles,
)
from pipeline.study.pareto import hypervolume
from pipeline.study.records import OBJECTIVES
from tests.kit.tracking import PARAMS, SPEC, series_of, stored, trials

# above the reference point (0.1, 0), where all volume is
VALUES = st.lists(st.tuples(st.floats(0.11, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=12)


@given(VALUES)
def test_hypervolume_over_trials_is_that_of_all_so_far(values: list[tuple[float, float]]) -> None:
    numbers, found = hypervolumes(series_of(*values))
    expected = [hypervolume(values[: n + 1], SPEC.reference_point) / 0.8 for n in range(len(values))]
    assert numbers == list(range(len(values)))
    assert found == pytest.approx(expected, abs=1e-12)


def test_hypervolume_without_a_span_is_no_number() -> None:
    flat = replace(SPEC, anchors=replace(SPEC.anchors, dense=SPEC.anchors.constant))
    assert np.isnan(hypervolumes(series_of((0.5, 0.5), spec=flat))[1]).all()


def test_dots_are_the_networks_of_complete_trials(tmp_path: Path) -> None:
    found = dots(stored(tmp_path, trials()).points())
    assert {dot.trial for dot in found} == {0, 1, 3, 5}
    assert [(d.kind, d.metric, d.compression) for d in found if d.trial == 0] == [
        ("curve", 0.88, 0.0),
        ("curve", 0.7, 0.5),
        ("curve", 0.15, 1.0),
        ("recovered", 0.85, 0.25),
    ]
    # a curve point is cut at its own threshold, the recovered one at the trial's
    assert [d.params["threshold"] for d in found if d.trial == 0] == [0.0, 0.1, 0.2, 0.3]
    assert found[0].parameters == 1200
    assert found[0].size_mb == pytest.approx(0.0048)


def test_every_network_is_in_one_layer(tmp_path: Path) -> None:
    series = Series(SPEC, dots(stored(tmp_path, trials()).points()))
    layers = series.layers()
    drawn = [id(dot) for layer in layers for dot in layer.dots]
    assert sorted(drawn) == sorted(id(dot) for dot in series.dots)
    on_front = {id(dot) for layer in layers if layer.on_front for dot in layer.dots}
    assert on_front == {id(dot) for dot in series.front}


def test_a_thinned_curve_keeps_the_front_and_all_that_recovered() -> None:
    many = [(0.5 - 1e-5 * n, 0.5) for n in range(3 * CURVE_DOTS)]
    series = series_of((0.9, 0.9), *many)
    series = replace(series, dots=(*series.dots, Dot(-1, "recovered", 0.2, 0.2, 1, 0.1, PARAMS, 0.2)))
    layers = {layer.name: layer.dots for layer in series.layers()}
    assert len(layers["cut only"]) == CURVE_DOTS
    assert [layers["cut only"][0].metric, layers["cut only"][-1].metric] == [many[0][0], many[-1][0]]
    assert [dot.metric for dot in layers["front: cut only"]] == [0.9]
    assert len(layers["cut, then trained on"]) == 1


def test_titles_say_what_studies_share_once() -> None:
    one = series_of()
    other = series_of(spec=replace(SPEC, name="toy-chance", method="chance"))
    assert titles("Pareto front", [one]) == (
        "Pareto front: toy-snip",
        "task glue/toy · model tiny · method snip",
    )
    assert titles("Pareto front", [one, other]) == ("Pareto front: 2 studies", "task glue/toy · model tiny")
    with pytest.raises(ValueError, match="at least one study"):
        titles("Pareto front", [])


def test_axes_are_called_as_the_objectives() -> None:
    compression, metric = axis_labels([series_of()])
    assert compression == f"{OBJECTIVES['compression'].label}, %"
    assert metric == f"{OBJECTIVES['metric'].label}: accuracy"


def test_no_two_of_six_studies_look_alike() -> None:
    looks = [look(index) for index in range(6)]
    assert (
        len({colour for colour, _ in looks})
        == len({symbol for _, symbol in looks})
        == len(COLOURS)
        == len(SYMBOLS)
    )
