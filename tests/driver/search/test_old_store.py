"""A store of commit 7448232 (before the nine wings) opens, shows, compares, exports and goes on.

`stores/7448232.tar.xz` holds what that commit wrote, and in `printed/` what its commands printed of it. There are
three studies: `targets` (first-order, 14 trials, one confirmed point), `halving` (20 trials, three of them stopped)
and `snip` (three trials of five; the driver was killed with kill -9 while two were running, one of which has a
checkpoint). The model is a BERT 16 wide with random weights.

`stores/52493eb5.tar.xz` is of the last commit whose attempts and records do not name their search: `front`
(first-order, four trials), `done` (four trials, none better than a constant) and `killed` (one trial of three; the
driver was killed in the second, which has a checkpoint). It was written without Ray (tests/kit/inline.py).
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pipeline.study.store import Store
from tests.kit.toy import prunefront_here

ARCHIVE = Path(__file__).with_name("stores") / "7448232.tar.xz"
NO_SEARCH = ARCHIVE.with_name("52493eb5.tar.xz")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The unpacked store, its task and its model, as if they had been moved here."""
    return unpacked(ARCHIVE, tmp_path / "oldstore2")  # the study's model is named after its last two folders


def unpacked(file: Path, folder: Path) -> Path:
    """Stores were made in folders of these names in /tmp: MLflow keeps absolute paths."""
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / "store" / "mlflow.db") as tracked:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            tracked.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (f"/tmp/{folder.name}", str(folder))
            )
    tracked.close()
    return folder


def printed(folder: Path, *arguments: str) -> Any:
    """What a command prints of the store as JSON."""
    done = prunefront_here(*arguments, "--store", folder / "store", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def before(folder: Path, name: str) -> Any:
    """What the old commit's command printed."""
    return json.loads((folder / "printed" / f"{name}.json").read_text())


@pytest.mark.parametrize("study", ["targets", "halving", "snip"])
def test_a_study_shows_as_it_did(old: Path, study: str) -> None:
    now, was = printed(old, "show", study), before(old, f"show-{study}")
    assert said_before(now, was) == was


def said_before(now: Any, was: Any) -> Any:
    """What was said by the old program, as it is said now: later versions may say more."""
    if isinstance(was, dict):
        return {key: said_before(now[key], value) for key, value in was.items()}
    if isinstance(was, list) and len(now) == len(was):
        return [said_before(*pair) for pair in zip(now, was, strict=True)]
    return now


def test_studies_best_and_compare_print_what_they_did(old: Path) -> None:
    was = before(old, "studies")
    assert said_before(printed(old, "studies")["studies"], was["studies"]) == was["studies"]
    was = before(old, "best")
    assert said_before(printed(old, "best", "targets"), was) == was
    compared, was = printed(old, "compare", "targets", "halving"), before(old, "compare")
    assert {key: value for key, value in compared.items() if key != "says"} == {
        key: value for key, value in was.items() if key != "says"
    }


def test_records_are_read(old: Path) -> None:
    study = Store(old / "store").study("halving")
    states = [study.read_record(number).state for number in study.finished_numbers()]
    assert len(states) == 20
    assert states.count("stopped") == 3


@pytest.mark.parametrize(
    ("archive", "folder", "study"),
    [(ARCHIVE, "oldstore2", "targets"), (NO_SEARCH, "oldstore3", "front")],
    ids=["7448232", "52493eb5"],
)
def test_a_point_is_exported(archive: Path, folder: str, study: str, tmp_path: Path) -> None:
    old = unpacked(archive, tmp_path / folder)
    done = prunefront_here(
        "export", study, "--store", old / "store", "--to", old / "small",
        "--task", old / "task" / "task.toml", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    (chosen,) = [
        point for point in before(old, f"show-{study}")["points"]
        if (point["trial"], point["point"]) == (exported["point"]["trial"], exported["point"]["point"])
    ]  # fmt: skip
    tensors = load_file(old / "small" / "model.safetensors")
    assert sum(tensor.numel() for name, tensor in tensors.items()) == chosen["parameters"]


@pytest.mark.usefixtures("inline")
def test_a_killed_search_goes_on(old: Path) -> None:
    """The two trials that were running are finished under their numbers, and one more is drawn."""
    study = Store(old / "store").study("snip")
    finished = {number: study.read_record(number).seconds for number in study.finished_numbers()}
    assert sorted(finished) == [0, 1, 2]
    done = prunefront_here(
        "search", "--task", old / "task" / "task.toml", "--model", old / "model", "--space", old / "task" / "snip.toml",
        "--name", "snip", "--store", old / "store", "--trials", "6", "--sampler", "random", "--precision", "fp32",
        "--latency-grid", "none", "--take-over", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    study = Store(old / "store").study("snip")
    assert study.finished_numbers() == [0, 1, 2, 3, 4, 5]
    assert {number: study.read_record(number).seconds for number in finished} == finished
    assert [study.read_record(number).attempts for number in (3, 4, 5)] == [2, 2, 1]


@pytest.mark.usefixtures("inline")
def test_a_confirmed_point_is_known_and_not_trained_again(old: Path) -> None:
    done = prunefront_here(
        "confirm", "targets", "--store", old / "store", "--points", "1", "--seeds", "2",
        "--task", old / "task" / "task.toml", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "seed 1" not in done.stderr


@pytest.mark.usefixtures("inline")
def test_a_study_whose_attempts_name_no_search_shows_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    folder = unpacked(NO_SEARCH, tmp_path / "oldstore3")
    for study in ("front", "done", "killed"):
        was = before(folder, f"show-{study}")
        assert said_before(printed(folder, "show", study), was) == was
    study = Store(folder / "store").study("killed")
    first = (study.trial_folder(0) / "record.json").read_bytes()
    assert study.attempts(1).count() == 1
    done = prunefront_here(
        "search", "--task", folder / "task" / "task.toml", "--model", folder / "model",
        "--space", folder / "task" / "slow.toml", "--name", "killed", "--store", folder / "store", "--trials", "2",
        "--sampler", "random", "--precision", "fp32", "--latency-grid", "none", "--scheduler", "none", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    study = Store(folder / "store").study("killed")
    assert study.finished_numbers() == [0, 1]
    assert (study.trial_folder(0) / "record.json").read_bytes() == first
    resumed = study.read_record(1)
    assert resumed.attempts == 2
    assert "resumed_at_epoch" in resumed.provenance
