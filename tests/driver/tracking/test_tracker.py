"""Record -> MLflow -> record is the identity; whenever a driver dies, every trial is there once in the end."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.driver.tracking.connection import TrackingLost
from pipeline.driver.tracking.tracker import Tracker, open_tracking, published
from pipeline.fronts.front import front_of
from pipeline.study.records import BadInput, StudySpec, TrialRecord
from tests.kit.tracking import PROVENANCE, SPEC, record, same, stored, trials


class Died(BaseException):
    """The driver was killed here."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose path has a space, with MLflow's database in it."""
    return tmp_path_factory.mktemp("a store")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def client(root: Path) -> MlflowClient:
    """MLflow as somebody else sees it."""
    open_tracking(None, store_root=root)
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> StudySpec:
    """A study of the test's own."""
    return replace(SPEC, name=request.node.name.replace("[", "-").replace("]", ""))


def started(root: Path, spec: StudySpec) -> Tracker:
    """A tracker as a new driver opens it."""
    tracker = open_tracking(None, store_root=root)
    tracker.start_study(spec, provenance=PROVENANCE)
    return tracker


def runs(client: MlflowClient, spec: StudySpec) -> tuple[list[Run], list[Run]]:
    """(runs of the study, runs of its trials), the deleted left out."""
    experiment = client.get_experiment_by_name("prunefront/glue/toy")
    found = client.search_runs([experiment.experiment_id], f"tags.`{published.STUDY}` = '{spec.name}'")
    parents = [run for run in found if published.TRIAL not in run.data.tags]
    return parents, [run for run in found if published.TRIAL in run.data.tags]


def history(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Every value that MLflow holds of a run: (step, value) by metric."""
    return {
        key: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }


def expected(one: TrialRecord) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for value in published.trial_values(one, start=0):
        found.setdefault(value.key, []).append((value.step, value.value))
    return found


@pytest.mark.parametrize("number", range(len(trials())))
def test_what_was_published_is_read_back(root: Path, spec: StudySpec, number: int) -> None:
    tracker = started(root, spec)
    one = trials()[number]
    tracker.publish(one)
    assert same(tracker.read_record(tracker.run_id(number)), one)
    again = started(root, spec)
    assert again.published() == {number: one.state}
    assert same(again.read_record(again.run_id(number)), one)


def test_a_studys_run_is_found_again_and_another_specs_is_another(root: Path, spec: StudySpec) -> None:
    first = open_tracking(None, store_root=root).start_study(spec, provenance=PROVENANCE)
    second = open_tracking(None, store_root=root).start_study(spec, provenance={})
    other = open_tracking(None, store_root=root).start_study(replace(spec, seed=1), provenance=PROVENANCE)
    assert first == second != other


def test_studies_are_found_by_what_a_person_tagged_their_runs_with(
    root: Path, client: MlflowClient, spec: StudySpec
) -> None:
    tracker = started(root, spec)
    tracker.publish(trials()[0])
    (study,), (trial,) = runs(client, spec)
    other = replace(spec, name=f"{spec.name}-other")
    started(root, other)
    for run in (study, trial, runs(client, other)[0][0]):
        client.set_tag(run.info.run_id, "team", spec.name)
    client.set_tag(study.info.run_id, "stage", "final")
    assert tracker.studies_tagged({"team": spec.name}) == [spec.name, other.name]
    assert tracker.studies_tagged({"team": spec.name, "stage": "final"}) == [spec.name]
    assert tracker.studies_tagged({"team": "nobody"}) == []
    with pytest.raises(BadInput, match="tags without quotes"):
        tracker.studies_tagged({"team": "o'brien"})


def test_states_are_mlflows(root: Path, client: MlflowClient, spec: StudySpec) -> None:
    tracker = started(root, spec)
    for one in trials():
        tracker.publish(one)
    (parent,), children = runs(client, spec)
    assert parent.info.status == "RUNNING"
    by_number = {int(run.data.tags[published.TRIAL]): run for run in children}
    assert {number: run.info.status for number, run in by_number.items()} == {
        0: "FINISHED", 1: "FINISHED", 2: "FAILED", 3: "FINISHED", 4: "KILLED", 5: "FINISHED"
    }  # fmt: skip
    assert by_number[2].data.tags[published.REASON] == "the loss is not a number"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert by_number[0].info.end_time - by_number[0].info.start_time == 12_500
    assert by_number[0].data.params["penalty_strength"] == "0.0123457"
    for state, status in (("stopped", "KILLED"), ("complete", "FINISHED")):
        tracker.finish_study(state)  # type: ignore[arg-type]
        assert client.get_run(parent.info.run_id).info.status == status


def test_publishing_twice_leaves_one_run_and_every_value_once(
    root: Path, client: MlflowClient, spec: StudySpec
) -> None:
    one = record(0, (0.9, 0.0), (0.7, 0.6))
    started(root, spec).publish(one)
    tracker = started(root, spec)
    tracker.publish(one)
    tracker.publish(one)
    _, (run,) = runs(client, spec)
    assert history(client, run) == expected(one)


@pytest.mark.parametrize("last", ["create_run", "log_batch", "log_artifacts", "set_terminated"])
def test_what_a_driver_died_in_is_completed_by_the_next(
    root: Path, client: MlflowClient, spec: StudySpec, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = record(0, (0.9, 0.0), (0.7, 0.6))
    tracker = started(root, spec)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, last, dying(getattr(MlflowClient, last)))
        with pytest.raises(Died):
            tracker.publish(one)
    following = started(root, spec)
    assert following.published() == ({0: "complete"} if last == "set_terminated" else {})
    following.publish(one)
    _, (run,) = runs(client, spec)
    assert run.info.status == "FINISHED"
    assert history(client, run) == expected(one)
    assert run.data.params == published.trial_params(one)
    assert same(following.read_record(run.info.run_id), one)


@pytest.mark.parametrize("last", ["create_run", "log_batch", "log_artifacts"])
def test_a_start_that_a_driver_died_in_is_completed_by_the_next(
    root: Path, client: MlflowClient, spec: StudySpec, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, last, dying(getattr(MlflowClient, last)))
        with pytest.raises(Died):
            started(root, spec)
    run_id = open_tracking(None, store_root=root).start_study(spec, provenance=PROVENANCE)
    (run,), _ = runs(client, spec)
    assert run.info.run_id == run_id
    assert history(client, run) == {"dense_metric": [(0, 0.9)], "constant_metric": [(0, 0.1)]}
    assert run.data.params == published.study_params(spec)
    assert {file.path for file in client.list_artifacts(run_id)} == {"space.toml", "spec.json"}


def dying(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, after which the driver is gone."""

    def done_and_gone(*arguments: Any, **named: Any) -> None:
        call(*arguments, **named)
        raise Died

    return done_and_gone


@pytest.mark.parametrize("ended_first", [True, False])
def test_of_two_runs_of_a_trial_the_one_that_ended_stays(
    root: Path, client: MlflowClient, spec: StudySpec, ended_first: bool
) -> None:
    """MLflow's client repeats a request whose answer was lost: so a run may have been made twice."""
    tracker = started(root, spec)
    tracker.publish(record(0))
    _, (ended,) = runs(client, spec)
    start = ended.info.start_time + (1 if ended_first else -1)
    client.create_run(ended.info.experiment_id, start, dict(ended.data.tags))
    assert started(root, spec).published() == {0: "complete"}
    _, (left,) = runs(client, spec)
    assert left.info.run_id == ended.info.run_id


def test_a_run_that_a_person_put_below_a_study_is_left_alone(
    root: Path, client: MlflowClient, spec: StudySpec
) -> None:
    run_id = open_tracking(None, store_root=root).start_study(spec, provenance=PROVENANCE)
    own = client.create_run(client.get_run(run_id).info.experiment_id, tags={"mlflow.parentRunId": run_id})
    assert started(root, spec).published() == {}
    assert client.get_run(own.info.run_id).info.lifecycle_stage == "active"


def test_more_values_than_mlflow_takes_at_once_are_all_there(
    root: Path, client: MlflowClient, spec: StudySpec
) -> None:
    one = record(0, (0.9, 0.0))
    norms = {f"norm/head.{unit}": float(unit) for unit in range(1200)}
    long = replace(one, history=(replace(one.history[0], values=norms),))
    started(root, spec).publish(long)
    _, (run,) = runs(client, spec)
    assert history(client, run) == expected(long)


def test_standing_is_a_series_over_trials_without_repeats(
    root: Path, client: MlflowClient, spec: StudySpec, tmp_path: Path
) -> None:
    fronts = [front_of(stored(tmp_path / str(n), trials()[:n], spec)) for n in range(1, 7)]
    for _ in range(2):
        tracker = started(root, spec)
        for found in fronts:
            tracker.publish_standing(found)
    (run,), _ = runs(client, spec)
    values = history(client, run)["hypervolume_normalised"]
    assert [step for step, _ in values] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in values] == pytest.approx(
        [f.hypervolume_normalised for f in fronts], rel=1e-5
    )


def test_a_front_is_a_table_two_figures_and_a_note(
    root: Path, client: MlflowClient, spec: StudySpec, tmp_path: Path
) -> None:
    table = stored(tmp_path, trials(), spec)
    found = front_of(table)
    tracker = started(root, spec)
    for _ in range(2):
        tracker.publish_front(found, table.points())
    (run,), _ = runs(client, spec)
    names = ("front.html", "front.json", "front.png", "space.toml", "spec.json")
    assert tuple(sorted(file.path for file in client.list_artifacts(run.info.run_id))) == names
    at = {name: Path(client.download_artifacts(run.info.run_id, name, tmp_path)) for name in names}
    assert json.loads(at["front.json"].read_text()) == published.front_table(found)
    assert at["front.png"].read_bytes().startswith(b"\x89PNG")
    assert "toy" in at["front.html"].read_text()
    assert at["space.toml"].read_text() == spec.space_toml
    assert json.loads(at["spec.json"].read_text())["anchors"]["dense"] == 0.9
    assert "**6 networks** on the front" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["front_size"] == 6


def test_an_experiment_is_described_and_has_a_view_for_each_study(
    root: Path, client: MlflowClient, spec: StudySpec
) -> None:
    for name in ("one", "two"):
        started(root, replace(spec, name=f"{spec.name}-{name}"))
    tags = client.get_experiment_by_name("prunefront/glue/toy").tags
    assert {f"mlflow.sharedViewState.{spec.name}-{name}" for name in ("one", "two")} <= set(tags)
    assert "`glue/toy`" in tags["mlflow.note.content"]


def test_a_full_disk_stops_no_study_and_is_made_up_for(
    root: Path, spec: StudySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, one = started(root, spec), record(0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.driver.tracking.tracker.save_record", full)
        with pytest.raises(TrackingLost, match="No space left on device"):
            tracker.publish(one)
    tracker.publish(one)
    assert same(tracker.read_record(tracker.run_id(0)), one)


def test_nothing_is_published_before_a_study_is_started(root: Path) -> None:
    tracker = open_tracking(None, store_root=root)
    with pytest.raises(RuntimeError, match="start_study"):
        tracker.publish(record(0))


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """MLflow's own words reach nobody."""
    yield
    assert capfd.readouterr() == ("", "")
