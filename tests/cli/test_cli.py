"""The commands as a person meets them: real processes, exit codes, one message, nothing written."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.app import run as run_here
from pipeline.export.reopen import reopen
from pipeline.study.ledger import hold
from pipeline.study.records import Ask
from pipeline.study.store import Store
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.kit.terminal import Searched
from tests.kit.toy import prunefront_here, small, write_task


@pytest.fixture(scope="module")
def searched(watched: Searched) -> tuple[Path, dict[str, object]]:
    """A store with one real study of three trials, and what the search printed."""
    assert watched.code == 0, watched.shown
    return watched.store, json.loads(watched.printed)


@dataclass(frozen=True)
class Run:
    """What a command left: as subprocess says it, but run in this process, where torch is imported already."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    def call(*arguments: str | Path) -> Run:
        code = run_here([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Run(code, printed.out, printed.err)

    return call


FRONT_KEYS = {"study", "task", "model", "method", "reference_point", "hypervolume", "hypervolume_normalised"}
POINT_KEYS = {"trial", "kind", "metric", "compression", "parameters", "latency_ms", "params"}


def test_search_prints_the_contracts_object(searched: tuple[Path, dict[str, object]]) -> None:
    found = searched[1]
    assert found.keys() >= FRONT_KEYS | {"dense_metric", "left_out", "points"}
    assert found["trials"] == 3
    points = found["points"]
    assert isinstance(points, list)
    assert points
    for point in points:
        assert point.keys() >= POINT_KEYS
        assert point["kind"] in ("recovered", "curve")
    compressions = [point["compression"] for point in points]
    metrics = [point["metric"] for point in points]
    assert compressions == sorted(compressions)
    assert metrics == sorted(metrics, reverse=True), "on a front more compression costs metric"


def test_show_gives_what_search_gave(
    searched: tuple[Path, dict[str, object]], here: Callable[..., Run]
) -> None:
    store, found = searched
    run = here("show", "toy", "--store", store, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == found


def test_show_and_studies_print_for_people(
    searched: tuple[Path, dict[str, object]], here: Callable[..., Run]
) -> None:
    store, found = searched
    shown = here("show", "toy", "--store", store)
    assert shown.returncode == 0
    points = found["points"]
    assert isinstance(points, list)
    assert f"{len(points)} on the front" in shown.stdout
    assert "\x1b" not in shown.stdout
    listed = here("studies", "--store", store, "--json")
    assert [study["study"] for study in json.loads(listed.stdout)["studies"]] == ["toy"]
    assert "toy" in here("studies", "--store", store).stdout


def test_best_keeps_the_bounds(searched: tuple[Path, dict[str, object]], here: Callable[..., Run]) -> None:
    store, found = searched
    points = found["points"]
    assert isinstance(points, list)
    least = points[-1]["compression"]
    run = here("best", "toy", "--store", store, "--min-compression", str(least), "--json")
    assert json.loads(run.stdout)["point"]["compression"] == least
    by_task = here("best", "--task", "toy", "--store", store, "--min-compression", str(least), "--json")
    assert json.loads(by_task.stdout)["point"] == json.loads(run.stdout)["point"]
    assert "penalty_strength" in here("best", "toy", "--store", store).stdout


def test_best_prints_what_the_front_offers(
    searched: tuple[Path, dict[str, object]], here: Callable[..., Run]
) -> None:
    run = here("best", "toy", "--store", searched[0], "--min-metric", "2")
    assert run.returncode == 2
    assert "It offers metrics of" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seed", "7"], "seed"),
        (["--sampler", "random"], "sampler"),
        (["--method", "chance"], "method"),
    ],
    ids=["seed", "sampler", "method"],
)
def test_the_same_name_with_another_spec_is_refused(
    searched: tuple[Path, dict[str, object]],
    task: Path,
    arguments: list[str],
    says: str,
    here: Callable[..., Run],
) -> None:
    before = sorted(path for path in searched[0].rglob("*"))
    space = [] if "chance" in arguments else ["--space", str(task.parent / "quick.toml")]
    run = here("search", "--task", task, "--name", "toy", "--store", searched[0], *space, *arguments)
    refused(run.returncode, run.stderr, says)
    assert sorted(path for path in searched[0].rglob("*")) == before


def test_the_same_name_with_other_data_is_refused(
    searched: tuple[Path, dict[str, object]], tmp_path: Path, here: Callable[..., Run]
) -> None:
    other = write_task(tmp_path / "other", seed=1)
    run = here("search", *small(other), "--name", "toy", "--store", searched[0])
    refused(run.returncode, run.stderr, "task_fingerprint")


@pytest.mark.usefixtures("inline")
def test_a_study_may_be_raised_and_goes_on(
    searched: tuple[Path, dict[str, object]], task: Path, here: Callable[..., Run]
) -> None:
    store = searched[0]
    before = {path: path.stat().st_mtime_ns for path in store.rglob("record.json") if "trials" in path.parts}
    run = prunefront_here(
        "search", *small(task), "--name", "toy", "--trials", "4",
        "--start", "dense", "--latency-grid", "1x8", "--store", store,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "training the dense" not in run.stderr, "the anchors are frozen: they are not trained again"
    assert "In MLflow:" in run.stdout, "the result is printed at the end"
    assert json.loads(here("show", "toy", "--store", store, "--json").stdout)["trials"] == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_used_process_gives_the_records_of_a_fresh_one(searched: tuple[Path, dict[str, object]]) -> None:
    """Trials ran one after the other in one worker; here each runs again, in another process and another order."""
    study = reopen(Store(searched[0]), "toy")
    assert study.inputs.dense is not None
    for number in (2, 1):
        record = study.store.study("toy").read_record(number)
        job = TrialJob(Ask(number, record.params, record.seed), checkpoint_s=math.inf, keep_weights=False)
        again = run_trial(study.inputs, job, lambda _: None)
        assert record.params["start_dense"]
        assert [row.values for row in again.history] == [row.values for row in record.history]
        assert len(again.points) == len(record.points)
        for one, other in zip(again.points, record.points, strict=True):
            assert one.masks.same(other.masks)
            assert np.array_equal(one.predictions, other.predictions)
            assert one.measurement.metrics == other.measurement.metrics


def test_a_study_that_is_being_searched_is_refused(
    searched: tuple[Path, dict[str, object]], task: Path, here: Callable[..., Run]
) -> None:
    store = searched[0]
    with hold(f"sqlite:///{store}/studies.db", "toy"):
        run = here(
            "search", *small(task), "--name", "toy", "--store", store, "--start", "dense",
        )  # fmt: skip
    refused(run.returncode, run.stderr, f"process {os.getpid()}", "--take-over")
    assert "starting Ray" not in run.stderr


def refused(code: int, message: str, *says: str) -> None:
    assert code == 2, message
    assert "Traceback" not in message
    for word in says:
        assert word in message


BAD = {
    "unknown task": (["--task", "glue/sst3"], "glue/sst2"),
    "missing task file": (["--task", "nowhere/task.toml"], "nowhere"),
    "unknown model": (["--model", "builtin/huge-bert"], "builtin/tiny-bert"),
    "missing model folder": (["--model", "./no/such/folder"], "no/such/folder"),
    "unknown method": (["--method", "snap"], "snip"),
    "unknown sampler": (["--sampler", "cmaes"], "nsga2"),
    "unknown scheduler": (["--scheduler", "hyperband"], "asha"),
    "unknown weights": (["--keep-weights", "none"], "front"),
    "no trials": (["--trials", "0"], "--trials"),
    "negative trials": (["--trials", "-3"], "--trials"),
    "no minutes": (["--minutes", "0"], "--minutes"),
    "no GPU time": (["--gpu-hours", "0"], "--gpu-hours"),
    "GPU time on CPUs": (["--gpu-hours", "1", "--gpus-per-trial", "0"], "--minutes"),
    "flat at once": (["--until-hypervolume-flat", "0"], "--until-hypervolume-flat"),
    "unknown precision": (["--precision", "int8"], "bf16"),
    "no tf32": (["--precision", "tf32"], "auto is"),
    "unknown compiling": (["--compile", "always"], "auto"),
    "compiled, layers run again": (["--compile", "auto", "--activation-checkpointing"], "--compile"),
    "unknown start": (["--start", "cut"], "dense"),
    "no concurrency": (["--concurrent", "0"], "--concurrent"),
    "no GPU": (["--gpus-per-trial", "1"], "--gpus-per-trial"),
    "cluster elsewhere, ledger here": (["--address", "192.0.2.7:6379"], "postgresql://"),
    "missing space": (["--space", "none.toml"], "none.toml"),
    "object store": (["--store", "s3://bucket/folder"], "--ledger"),
    "unknown store": (["--store", "gs://bucket/folder"], "--store"),
    "unknown option": (["--penalty", "3"], "--penalty"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD.keys())
def test_bad_options_are_refused_before_anything_is_written(
    task: Path, tmp_path: Path, arguments: list[str], says: str, here: Callable[..., Run]
) -> None:
    store = tmp_path / "store"
    chosen = [] if "--task" in arguments else ["--task", str(task)]
    stored = [] if "--store" in arguments else ["--store", str(store)]
    run = here("search", *chosen, *stored, *arguments)
    refused(run.returncode, run.stderr, says)
    assert run.stdout == ""
    assert not store.exists()


def test_a_bad_model_leaves_nothing_of_the_builtin_task(tmp_path: Path, here: Callable[..., Run]) -> None:
    run = here("search", "--model", "./no/such/folder", "--store", tmp_path / "store")
    refused(run.returncode, run.stderr, "no/such/folder")
    assert not (tmp_path / "store").exists()


BAD_SPACES = {
    "unknown key": ("[penalty_strenght]\nlow = 1\nhigh = 2\ndefault = 1\n", "penalty_strength"),
    "reversed": ("[learning_rate]\nlow = 1e-3\nhigh = 1e-5\ndefault = 1e-4\n", "low"),
    "not TOML": ("[learning_rate\nlow = 1\n", "line 1"),
}


@pytest.mark.parametrize(("text", "says"), BAD_SPACES.values(), ids=BAD_SPACES.keys())
def test_a_bad_space_is_refused(
    task: Path, tmp_path: Path, text: str, says: str, here: Callable[..., Run]
) -> None:
    (tmp_path / "space.toml").write_text(text)
    run = here("search", "--task", task, "--space", tmp_path / "space.toml", "--store", tmp_path / "store")
    refused(run.returncode, run.stderr, "space.toml", says)
    assert not (tmp_path / "store").exists()


BAD_FILES = {
    "missing column": ("sentence\tclass\na b\t0\nc d\t1\n", "label"),
    "empty": ("", "train.tsv"),
    "no rows": ("sentence\tlabel\n", "train.tsv"),
    "one class": ("sentence\tlabel\n" + "a b\t1\n" * 9, "class"),
}


@pytest.mark.parametrize(("text", "says"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_data_is_refused(tmp_path: Path, text: str, says: str, here: Callable[..., Run]) -> None:
    task = write_task(tmp_path / "task")
    (task.parent / "train.tsv").write_text(text)
    run = here("search", "--task", task, "--store", tmp_path / "store")
    refused(run.returncode, run.stderr, says)
    assert not (tmp_path / "store").exists()


def test_an_unknown_key_of_a_task_file_is_refused(tmp_path: Path, here: Callable[..., Run]) -> None:
    task = write_task(tmp_path / "task")
    task.write_text("lable = 'x'\n" + task.read_text())
    run = here("search", "--task", task, "--store", tmp_path / "store")
    refused(run.returncode, run.stderr, "lable", "label")
    assert not (tmp_path / "store").exists()


def test_a_tracking_server_that_does_not_answer_is_refused(
    task: Path, tmp_path: Path, here: Callable[..., Run]
) -> None:
    with socket.socket() as closed:  # bound, not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        address = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}"
        run = here("search", "--task", task, "--store", tmp_path / "store", "--tracking", address)
    refused(run.returncode, run.stderr, "--tracking")
    assert "secret" not in run.stderr + run.stdout
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_refused(
    task: Path, tmp_path: Path, here: Callable[..., Run]
) -> None:
    (tmp_path / "file").write_text("")
    run = here("search", "--task", task, "--store", tmp_path / "file" / "store")
    refused(run.returncode, run.stderr, "--store")


def test_every_command_has_help(here: Callable[..., Run]) -> None:
    top = here("--help")
    assert top.returncode == 0
    for name in ("search", "show", "best", "studies"):
        assert name in top.stdout
        run = here(name, "--help")
        assert run.returncode == 0
        assert "--json" in run.stdout
