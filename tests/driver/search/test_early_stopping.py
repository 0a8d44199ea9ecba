"""A real search with early stopping: who is stopped is a stopped trial in every book, and stands on no front."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from pipeline.study.store import Store
from tests.kit.toy import SHORT_CUT, prunefront_here, write_task

TRIALS = 14
SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
value = 3
[recover_epochs]
low = 0
high = 1
default = 0
[rounds]
value = 1
[batch_size]
value = 8
[learning_rate]
low = 4e-4
high = 3e-3
log = true
default = 1.5e-3
"""
)


@pytest.mark.long  # fourteen trials
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("executor")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's, of SQLAlchemy 2.1
def test_a_search_stops_trials_that_add_nothing(tmp_path: Path) -> None:
    task, root = write_task(tmp_path / "task"), tmp_path / "store"
    (task.parent / "space.toml").write_text(SPACE)
    run = prunefront_here(
        "search", "--task", task, "--space", task.parent / "space.toml", "--name", "toy", "--store", root,
        "--trials", str(TRIALS), "--sampler", "random", "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found, store = json.loads(run.stdout), Store(root)
    records = [store.study("toy").read_record(number) for number in store.study("toy").finished_numbers()]
    assert len(records) == TRIALS
    stopped = [record for record in records if record.state == "stopped"]
    assert all(record.rungs for record in records)
    assert stopped, [(record.params["learning_rate"], record.rungs) for record in records]
    assert found["left_out"] == {"failed": 0, "stopped": len(stopped)}
    for record in stopped:
        assert record.points == ()
        assert len(record.rungs[-1].metric) > 1
        assert record.reason.startswith("at ")
        assert record.epochs < 2.1
        assert not list(store.study("toy").trial_folder(record.number).glob("attempt-*"))
    numbers = {record.number for record in stopped}
    assert not numbers & {point["trial"] for point in found["points"]}
    for record in records:
        if record.state == "complete":
            assert [rung.index for rung in record.rungs] == [0, 1]
            assert record.recovered is not None

    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{root}/studies.db")
    assert {t.number for t in study.trials if t.state.name == "PRUNED"} == numbers
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if "toy" in e.name]
    runs = client.search_runs([experiment.experiment_id], "tags.`prunefront.trial` LIKE '%'")
    assert {int(r.data.tags["prunefront.trial"]) for r in runs if r.info.status == "KILLED"} == numbers
