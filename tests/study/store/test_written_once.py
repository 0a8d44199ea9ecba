"""A trial's record is written once: paused drivers and workers that were cut off change nothing of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.study import whole_file
from pipeline.study.records import TrialRecord
from pipeline.study.store import Store, StudyStore, written_once
from pipeline.study.whole_file import write_new
from tests.kit.synthetic import point, record, spec
from tests.kit.tracking import same


@pytest.fixture
def study(tmp_path: Path) -> StudyStore:
    store = Store(tmp_path)
    store.write_spec(spec())
    return store.study("toy")


def of(metric: float) -> TrialRecord:
    return record(0, point(metric, 0.5, kind="recovered"))


def weights_in(attempt: Path, text: bytes) -> None:
    (attempt / "weights").mkdir()
    (attempt / "weights" / "recovered.safetensors").write_bytes(text)


def test_the_first_of_two_files_stays_whole_and_as_it_was(tmp_path: Path) -> None:
    assert write_new(tmp_path / "folder" / "file", b"first")
    assert not write_new(tmp_path / "folder" / "file", b"second")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]
    assert (tmp_path / "folder" / "file").read_bytes() == b"first"


def test_a_file_system_without_hard_links_has_the_same_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(whole_file.os, "link", refuse)
    assert write_new(tmp_path / "file", b"first")
    assert not write_new(tmp_path / "file", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_second_record_of_a_trial_changes_nothing(study: StudyStore) -> None:
    first, late = of(0.8), of(0.7)
    assert study.write_record(first)
    assert not study.write_record(late)
    assert same(study.read_record(0), first)
    assert sorted(path.name for path in study.trial_folder(0).iterdir()) == ["record.json", "record.npz"]


@pytest.mark.parametrize("paused_before", ["record.npz", "record.json"])
def test_a_writer_that_was_paused_between_two_files_neither_wins_nor_spoils(
    study: StudyStore, monkeypatch: pytest.MonkeyPatch, paused_before: str
) -> None:
    """The second writes its whole record while the first stands still before one of its files."""
    first, second = of(0.8), of(0.7)
    written = written_once.send_new

    def pause(path: Path, data: bytes) -> bool:
        if path.name == paused_before:
            monkeypatch.setattr(written_once, "send_new", written)
            assert study.write_record(second)
        return written(path, data)

    monkeypatch.setattr(written_once, "send_new", pause)
    assert not study.write_record(first)
    assert same(study.read_record(0), second)


def test_arrays_that_a_killed_writer_left_are_no_obstacle(study: StudyStore) -> None:
    study.trial_folder(0).mkdir(parents=True)
    (study.trial_folder(0) / "record.npz").write_bytes(b"of another process")
    assert study.write_record(of(0.8))
    assert same(study.read_record(0), of(0.8))


def test_the_weights_are_those_of_the_attempts_that_the_record_names(study: StudyStore) -> None:
    """Whoever completes it, and if the process died between the record and its weights."""
    attempts = study.attempts(0)
    first, second = attempts.begin(), attempts.begin()
    weights_in(first, b"cut off")
    weights_in(second, b"of the record")
    study.write_record(of(0.8), attempts=[second])
    study.complete_all()
    assert study.weights.path(0, "recovered").read_bytes() == b"of the record"
    assert attempts.folders() == []
    first.mkdir()  # the one that was cut off goes on, and ends later
    weights_in(first, b"late")
    assert not study.write_record(replace(of(0.7), attempts=1), attempts=[first])
    study.complete(0, [first])
    assert study.weights.path(0, "recovered").read_bytes() == b"of the record"
    assert attempts.folders() == []


def test_part_files_of_killed_processes_are_removed(study: StudyStore) -> None:
    study.write_record(of(0.8))
    folders = [
        study.folder, study.trial_folder(0), study.trial_folder(0) / "weights", study.folder / "exports",
        study.folder / "confirm" / "00000-00",
    ]  # fmt: skip
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".record.json.0a1b2c3d.part").write_bytes(b"half")
        os.utime(folder / ".record.json.0a1b2c3d.part", (0, 0))
    young = study.folder / ".spent.json.0a1b2c3d.part"  # somebody writes it now
    young.write_bytes(b"half")
    study.complete_all()
    assert list(study.folder.rglob("*.part")) == [young]
