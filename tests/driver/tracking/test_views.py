"""MLflow's prepared tables: their columns are what is published, their parameters what a space draws."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipeline.driver.tracking import open_tracking, page_of
from pipeline.driver.tracking.notes import experiment_name
from pipeline.driver.tracking.tracker import published, views
from pipeline.fronts.front import front_of
from pipeline.methods.registry import METHODS
from pipeline.study.space.space import load_space
from tests.kit.tracking import SPEC, record, stored, trials


def state_of(tags: dict[str, str]) -> dict[str, Any]:
    ((_, text),) = tags.items()
    state: dict[str, Any] = json.loads(text)
    return state


def named(state: dict[str, Any], group: str) -> set[str]:
    return {column.split("`")[1] for column in state["selectedColumns"] if column.startswith(group)}


def metrics_of_charts(state: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for chart in state["compareRunCharts"]:
        found |= set(chart.get("selectedMetricKeys", [])) | set(chart.get("selectedMetrics", []))
        found |= {chart[axis]["key"] for axis in ("xaxis", "yaxis") if axis in chart}
        found |= {chart["selectedXAxisMetricKey"]} if "selectedXAxisMetricKey" in chart else set()
    return found


def test_a_trials_columns_and_charts_are_published() -> None:
    state = state_of(views.trials_view(SPEC))
    one = record(0, (0.9, 0.0))
    written = {value.key for value in published.trial_values(one, start=0)}
    assert named(state, "metrics") | metrics_of_charts(state) <= written
    assert (
        named(state, "params") == {"penalty_strength", "spectral_bound"} <= set(published.trial_params(one))
    )
    assert state["columnOrder"][:2] == ["metrics.`metric`", "metrics.`compression`"]
    assert f"tags.`{published.STUDY}` = 'toy-snip'" in state["searchFilter"]


def test_a_studys_columns_and_charts_are_published(tmp_path: Path) -> None:
    state = state_of(views.studies_view())
    found = front_of(stored(tmp_path, trials()))
    values = published.front_values(found, milliseconds=0) + published.study_values(SPEC, milliseconds=0)
    assert named(state, "metrics") | metrics_of_charts(state) <= {value.key for value in values}
    assert named(state, "params") <= set(published.study_params(SPEC))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_searched_parameters_are_those_that_the_space_draws(method: str) -> None:
    space = load_space(method, file=None, pretrained=True)
    found = views.searched_keys(replace(SPEC, space_toml=space.toml))
    assert found == [name for name, key in space.keys.items() if not key.fixed]


def test_a_view_fits_into_a_tag_and_has_a_link() -> None:
    tags = views.trials_view(replace(SPEC, space_toml=load_space("snip", file=None, pretrained=True).toml))
    assert all(len(value) < 20_000 for value in tags.values())
    assert list(tags) == ["mlflow.sharedViewState.toy-snip"]
    assert (
        views.link("3", "toy-snip")
        == "#/experiments/3/runs?viewStateShareKey=toy-snip&workflowType=machine_learning"
    )
    assert views.link("3", "toy-snip", charts=True).endswith("&compareRunsMode=CHART")


def test_a_stores_own_database_says_where_a_study_is(mlflow_database: Path, tmp_path: Path) -> None:
    """The address that `show` prints is the one that MLflow's own note has."""
    assert page_of(SPEC, store=tmp_path) is None
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    assert page_of(SPEC, store=tmp_path) is None  # no study has been published
    tracker = open_tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", store_root=tmp_path)
    tracker.start_study(SPEC, provenance={})
    experiment = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_experiment_by_name(
        experiment_name(SPEC.task)
    )
    assert experiment is not None
    assert page_of(SPEC, store=tmp_path) == (
        f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={SPEC.name}"
        "&workflowType=machine_learning"
    )
    assert experiment.tags["mlflow.sharedViewState." + SPEC.name]
