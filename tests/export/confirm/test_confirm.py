"""A whole confirmation on Ray and MLflow: what is there stays, what is missing is trained, all is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.app import run
from pipeline.driver.tracking import open_tracking
from pipeline.export.confirm import confirm
from pipeline.export.confirm.confirm import _until
from pipeline.export.confirm.points import choose_points, fresh_seed
from pipeline.export.confirm.retrain import Retraining, SharedInputs, retrain
from pipeline.export.reopen import reopen
from pipeline.fronts.front import load_front
from pipeline.study.records import BadInput
from pipeline.trial.replay import Goal
from tests.kit.compare import write_study
from tests.kit.onetrial import NAME, make_study


@pytest.mark.usefixtures("executor")
def test_a_confirmation_goes_on_and_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = reopen(make_study(tmp_path).store, NAME)
    root = study.store.root
    tracker = open_tracking(None, store_root=root)
    parent = tracker.start_study(study.spec, provenance={})
    tracker.finish_study("complete")
    chosen = choose_points(load_front(NAME, store=root), "all")
    first = chosen[0]
    record = study.store.study(NAME).read_record(0)
    test = study.test()
    study.store.study(NAME).confirmations.write_test(test.ids, test.labels)
    goal = Goal(first.kind, first.round, record.points[first.point].threshold, first.compression)
    item = Retraining(0, first.point, 0, fresh_seed(0, 0), record.params, goal)
    retrain(SharedInputs(study.inputs, test, root, NAME), item)
    (there,) = root.glob("studies/toy/confirm/*/seed-*.json")
    before = there.stat().st_mtime_ns

    said: list[str] = []
    done = confirm(NAME, seeds=2, points="all", store=root, concurrent=2, log=said.append)

    assert there.stat().st_mtime_ns == before
    assert [point.metric.count for point in done.confirmed.points] == [2] * len(chosen)
    assert (done.missing, done.lost) == (0, ())
    assert any(line.startswith(f"{2 * len(chosen) - 1}/{2 * len(chosen) - 1}  ") for line in said)
    runs = tracker._mlflow.runs(tracker._experiment(study.spec), tag="mlflow.parentRunId", value=parent)
    assert len(runs) == len(chosen)
    for run_, point in zip(runs, done.confirmed.points, strict=True):
        assert run_.status == "FINISHED"
        assert run_.metrics["test_metric_mean"] == pytest.approx(point.metric.mean)
        assert run_.metrics["optimism"] == pytest.approx(point.optimism.mean)

    # all is there: no Ray, and nothing is published twice
    assert run(["confirm", NAME, "--seeds", "2", "--points", "all", "--store", str(root), "--json"]) == 0
    assert '"missing": 0' in capsys.readouterr().out
    after = tracker._mlflow.runs(tracker._experiment(study.spec), tag="mlflow.parentRunId", value=parent)
    assert len(after) == len(chosen)


def test_when_time_is_up_no_more_is_started() -> None:
    items = [object(), object()]
    assert list(_until(None, items)) == items  # type: ignore[arg-type]
    assert list(_until(1e-9, items)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"seeds": 1}, "--seeds"),
        ({"minutes": 0.0}, "--minutes"),
        ({"points": "some"}, "--points"),
        ({"study": "nothing"}, "nothing"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(
    tmp_path: Path, wrong: dict[str, object], says: str
) -> None:
    write_study(tmp_path, "one", [(0.9, 0.0), (0.8, 0.5)])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=says):
        confirm(**{"study": "one", "store": tmp_path} | wrong)  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before
