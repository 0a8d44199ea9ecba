"""Trackers beside MLflow: real runs of a real search, read back by their own libraries."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.driver.also import check_also, reporting
from pipeline.driver.also.port import run_of
from pipeline.driver.search.budget import Budget
from pipeline.driver.search.request import Search
from pipeline.driver.search.watcher import SearchProgress, Watcher
from pipeline.fronts.front import Front, load_front
from pipeline.study.records import BadInput, TrialRecord
from pipeline.study.store import Spent, Store
from tests.kit.inline import without_ray
from tests.kit.toy import prunefront_here, small, write_task

TENSORBOARD, TRACKIO = find_spec("tensorboard") is not None, find_spec("trackio") is not None


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, a study of two trials, and what both trackers have of it."""
    folder = tmp_path_factory.mktemp("also")
    task = write_task(folder / "task", rows=120)
    also = [f"tensorboard:{folder / 'board'}"] * TENSORBOARD + ["trackio"] * TRACKIO
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        run = prunefront_here(
            "search", *map(str, small(task)), "--name", "toy", "--store", folder / "store", "--json",
            "--trials", "2", "--concurrent", "1", "--latency-grid", "none", "--scheduler", "none",
            *(word for each in also for word in ("--also", each)),
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["trials"] == 2
    assert "has failed" not in run.stderr
    return folder


def record(searched: Path, number: int) -> TrialRecord:
    return Store(searched / "store").study("toy").read_record(number)


@pytest.mark.skipif(not TENSORBOARD, reason="tensorboard is not installed")
def test_tensorboard_has_each_trial_with_its_curve_and_settings(searched: Path) -> None:
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    for number in range(2):
        kept = record(searched, number)
        assert kept.recovered is not None
        found = accumulator.EventAccumulator(str(searched / "board" / "toy" / f"trial-{number:05d}"))
        found.Reload()
        (metric,) = found.Scalars("metric")
        assert metric.value == pytest.approx(kept.recovered.measurement.metric, rel=1e-5)
        losses = [row.values["train_loss"] for row in kept.history if "train_loss" in row.values]
        assert [each.value for each in found.Scalars("training/train_loss")] == pytest.approx(
            losses, rel=1e-4
        )
        steps = [each.step for each in found.Scalars("curve/metric_by_compression_percent")]
        assert steps[0] == 0
        assert steps[-1] > 50
        settings = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        assert b"penalty_strength" in settings


@pytest.mark.skipif(not TRACKIO, reason="trackio is not installed")
def test_trackio_has_each_trial(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = importlib.import_module("trackio.sqlite_storage")
    trackio_dir = searched / "trackio"
    for module in ("trackio.sqlite_storage", "trackio.utils"):
        monkeypatch.setattr(f"{module}.TRACKIO_DIR", trackio_dir)
    (project,) = storage.SQLiteStorage.get_projects()
    runs = storage.SQLiteStorage.get_runs(project)
    assert sorted(runs) == ["toy-trial-00000", "toy-trial-00001"]
    for number in range(2):
        kept = record(searched, number)
        assert kept.recovered is not None
        logs = storage.SQLiteStorage.get_logs(project, f"toy-trial-{number:05d}")
        (metric,) = [row["metric"] for row in logs if row.get("metric") is not None]
        assert metric == pytest.approx(kept.recovered.measurement.metric, rel=1e-5)


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ("tensorbord:x", "Did you mean tensorboard"),
        ("tensorboard", "Write tensorboard:FOLDER"),
        ("trackio:project", "Write trackio."),
    ],
)
def test_a_tracker_that_there_is_not_is_refused(also: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check_also(Search(also=(also,)).also)


@pytest.mark.skipif(TENSORBOARD, reason="tensorboard is installed")
def test_a_tracker_that_is_not_installed_is_refused_with_the_way_to_install_it() -> None:
    with pytest.raises(BadInput, match=r"pip install 'prunefront\[tensorboard\]'"):
        check_also(("tensorboard:folder",))


class Told(Watcher):
    def __init__(self) -> None:
        self.changes: list[int] = []
        self.warnings: list[str] = []

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        self.changes.append(-1 if record is None else record.number)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_every_event_is_passed_on() -> None:
    events = {name for name, each in vars(Watcher).items() if callable(each)}
    passed = vars(type(reporting(Told(), ("tensorboard:board",))))
    assert events <= {*passed}


def test_a_tracker_that_fails_is_told_once_and_stops_nothing(searched: Path, tmp_path: Path) -> None:
    (tmp_path / "board").write_text("a file where its folder should be")
    told = Told()
    watcher = reporting(told, (f"tensorboard:{tmp_path / 'board'}",))
    front: Front = load_front("toy", store=searched / "store")
    progress = SearchProgress(1, 0, 0, (), front, budget=Budget(2), spent=Spent())
    kept = record(searched, 0)
    for each in (None, kept, replace(kept, number=1)):
        watcher.on_change(progress, each)
    assert told.changes == [-1, 0, 1]
    assert len(told.warnings) == 1
    assert "tensorboard" in told.warnings[0]
    assert "without it" in told.warnings[0]


def test_a_run_has_the_numbers_of_the_record(searched: Path) -> None:
    kept, spec = record(searched, 0), load_front("toy", store=searched / "store").spec
    assert kept.recovered is not None
    run = run_of(kept, spec)
    assert (run.study, run.name, run.state) == ("toy", "trial-00000", "complete")
    assert run.last["compression"] == pytest.approx(kept.recovered.measurement.compression, rel=1e-5)
    assert run.params["penalty_strength"] == kept.params["penalty_strength"]
    assert not any("/" in name for name in run.last)
