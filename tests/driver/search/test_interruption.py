"""Kills of a real search, by Ctrl-C and by kill -9: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from tests.kit.toy import command, environment, on_one_core, prunefront_here, small, write_task

TRIALS = 4
WAIT_S = 150


def start(arguments: list[str | Path], *, cores: int = 1) -> subprocess.Popen[str]:
    """A search in a session of its own, as a terminal would start it."""

    def begin() -> None:
        # a shell's background job ignores Ctrl-C, and so do its children; a terminal's command does not
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if cores == 1:
            on_one_core()

    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=begin,
    )


def records(store: Path) -> dict[str, int]:
    """Records on disk, with the time each was written."""
    found = (store / "studies/toy/trials").glob("*/record.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


def attempts(store: Path) -> set[Path]:
    """The folders of all attempts, of those that a kill left, too."""
    return set((store / "studies/toy/trials").glob("*/attempt-*"))


def in_training(store: Path, *, left: set[Path]) -> set[str]:
    """Trials that train: they have an attempt that is not among those `left`, and no record."""
    return {path.parent.name for path in attempts(store) - left} - records(store).keys()


def wait_for(
    store: Path, count: int, process: subprocess.Popen[str], *, left: set[Path] | None = None
) -> None:
    """Until that many trials have ended and, given the attempts that are `left` of before, one more trains."""
    end = time.monotonic() + WAIT_S
    while len(records(store)) < count or (left is not None and not in_training(store, left=left)):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"The search ended or hung before {count} records: {process.communicate()[1]}")
        time.sleep(0.05)


def test_a_signal_while_ray_starts_is_answered(tmp_path: Path) -> None:
    """Ray has a handler of its own there, which leaves without a word."""
    task = write_task(tmp_path / "task")
    process = start(["search", "--task", task, "--store", tmp_path / "store", "--latency-grid", "none"])
    assert process.stderr is not None
    said = ""
    while "starting Ray" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    said += process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    assert "Interrupted. Everything that was found is kept" in said


@pytest.mark.timeout(420)
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's, of SQLAlchemy 2.1
@pytest.mark.parametrize(
    ("how", "cores"), [(signal.SIGTERM, 1), pytest.param(signal.SIGINT, 2, marks=pytest.mark.long)]
)
@pytest.mark.usefixtures("inline")
def test_a_search_that_is_killed_twice_ends_with_every_trial_once(
    tmp_path: Path, how: signal.Signals, cores: int
) -> None:
    task, store = write_task(tmp_path / "task"), tmp_path / "store"
    arguments: list[str | Path] = ["search", *small(task), "--name", "toy", "--store", store]
    arguments += ["--trials", str(TRIALS), "--latency-grid", "none"]

    first = start(arguments, cores=cores)
    wait_for(store, 1, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    after_first, left = records(store), attempts(store)

    second = start(arguments, cores=cores)
    wait_for(store, 2, second, left=left)
    trained = in_training(store, left=left)
    os.kill(second.pid, how)
    message = second.communicate(timeout=120)[1]
    assert second.returncode == 130, message
    assert "the same command goes on" in message
    assert f"--name toy --store {store}" in message
    after_second = records(store)
    marked = {path.parents[1].name for path in (store / "studies/toy/trials").glob("*/attempt-*/interrupted")}
    assert marked or trained <= after_second.keys()  # a trial may have ended just then

    last = prunefront_here(*arguments, "--json")  # its trials in this process: two starts of Ray are enough
    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["trials"] == TRIALS

    at_end = records(store)
    for before in (after_first, after_second):
        assert {number: at_end[number] for number in before} == before, "a finished trial was done again"
    assert sorted(at_end) == [f"{number:05d}" for number in range(TRIALS)]
    check_ledger(store)
    check_mlflow(store)


def check_ledger(store: Path) -> None:
    """Exactly the trials of the study, all ended, no draw repeated."""
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{store}/studies.db")
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * TRIALS
    draws = [json.dumps(trial.params, sort_keys=True) for trial in study.trials]
    assert len(set(draws)) == TRIALS


def check_mlflow(store: Path) -> None:
    """Exactly one parent run, and one finished child run per trial."""
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    experiments = [e for e in client.search_experiments() if "toy" in e.name]
    assert len(experiments) == 1
    runs = client.search_runs([experiments[0].experiment_id], max_results=1000)
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert [run.info.status for run in children] == ["FINISHED"] * TRIALS
    assert sorted(int(run.data.tags["prunefront.trial"]) for run in children) == list(range(TRIALS))
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
