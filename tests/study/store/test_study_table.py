"""A study's table decoded: values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.study.records import Params, StudySpec
from pipeline.study.store import Store, StudyTable, TrialRow, curve_params
from tests.kit.synthetic import point, record, spec

TARGET: Params = {"target": 0.5, "recover_epochs": 2, "penalty_strength": 5.0}


@pytest.fixture
def table(tmp_path: Path) -> StudyTable:
    """Trials 0 and 3 are complete, 1 failed without a point, 2 was stopped with one."""
    store = Store(tmp_path)
    store.write_spec(spec())
    for each in (
        record(
            0, point(0.9, 0.0), replace(point(0.8, 0.4), threshold=0.75), point(0.85, 0.4, kind="recovered")
        ),
        record(1, state="failed", reason="the loss is not a number"),
        record(2, point(0.95, 0.5), state="stopped", reason="redundant"),
        record(3, point(0.7, 0.8)),
    ):
        store.study("toy").write_record(each)
    return store.study("toy").read_points()


def test_trials_are_those_that_ended(table: StudyTable) -> None:
    assert table.trials() == [
        TrialRow(0, "complete", "", 2.0, 3.0),
        TrialRow(1, "failed", "the loss is not a number", 2.0, 3.0),
        TrialRow(2, "stopped", "redundant", 2.0, 3.0),
        TrialRow(3, "complete", "", 2.0, 3.0),
    ]


def test_points_are_of_complete_trials_unless_all_are_requested(table: StudyTable) -> None:
    assert table.values.tolist() == [[0.9, 0.0], [0.8, 0.4], [0.85, 0.4], [0.7, 0.8]]
    assert table.points().column("number") == [0, 0, 0, 3]
    assert table.points().on_curve.tolist() == [True, True, False, True]
    assert len(table.points(complete=False)) == 5
    assert list(table.points().by_trial()) == [(0, slice(0, 3)), (3, slice(3, 4))]


def test_a_curve_point_has_its_own_parameters_and_a_recovered_one_its_trials(table: StudyTable) -> None:
    points = table.points()
    assert points.params() == [
        {"threshold": 0.25, "recover_epochs": 0, "penalty_strength": 5.0},
        {"threshold": 0.75, "recover_epochs": 0, "penalty_strength": 5.0},
        {"threshold": 0.1, "recover_epochs": 2, "penalty_strength": 5.0},
        {"threshold": 0.25, "recover_epochs": 0, "penalty_strength": 5.0},
    ]
    assert points.trial_params(1) == {"threshold": 0.1, "recover_epochs": 2, "penalty_strength": 5.0}
    (row,) = points.at([1]).rows()
    assert (row["number"], row["point"], row["metric"], row["gain"]) == (0, 1, 0.8, 0.4)
    assert row["params"] == points.params()[1]


@pytest.mark.parametrize(("objective", "target"), [("compression", 0.4), ("sparsity", 0.125), ("macs", 0.4)])
def test_the_target_of_a_curve_point_is_the_share_that_it_reached(
    tmp_path: Path, objective: str, target: float
) -> None:
    made: StudySpec = replace(spec(), objective=objective)
    store, drawn = Store(tmp_path), point(0.8, 0.4)
    store.write_spec(made)
    sparse = replace(drawn, measurement=replace(drawn.measurement, sparsity=0.125))
    store.study("toy").write_record(replace(record(0, sparse), params=TARGET))
    (params,) = store.study("toy").read_points().points().params()
    assert params == {"target": target, "recover_epochs": 0, "penalty_strength": 5.0}
    assert curve_params(TARGET, threshold=0.25, share=target) == {"target": target, "recover_epochs": 0}


def test_a_table_of_no_trials_has_no_points(table: StudyTable) -> None:
    none = table.of_trials([])
    assert none.trials() == []
    assert none.values.shape == (0, 2)
    assert list(none.points().by_trial()) == []
    assert none.points().rows() == []
    assert [trial.number for trial in table.of_trials({3, 1}).trials()] == [1, 3]
