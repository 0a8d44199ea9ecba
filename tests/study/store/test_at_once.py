"""Two commands that write into one study at once lose nothing of each other; what is written again is read again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.study.store import Confirmation, Damaged, Retrained, Store, exports, save_record
from pipeline.study.store.study import StudyStore
from tests.kit.synthetic import point, record, spec

TIMES = 10


@pytest.fixture
def study(tmp_path: Path) -> StudyStore:
    store = Store(tmp_path)
    store.write_spec(spec())
    return store.study("toy")


def at_once(write: Callable[[int, int], None]) -> None:
    """Two writers, each TIMES times."""
    gate, failures = threading.Barrier(2), list[BaseException]()

    def writer(who: int) -> None:
        gate.wait()
        try:
            for number in range(TIMES):
                write(who, number)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=writer, args=(who,)) for who in (0, 1)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert failures == []


def test_two_exports_both_keep_their_test_scores(study: StudyStore) -> None:
    at_once(
        lambda who, number: study.exports.add(
            exports.TestScores(who, number, "x", {"test": {"metric": 0.5}}, {"test": 3})
        )
    )
    assert [(each.trial, each.point) for each in study.exports.read()] == [
        (who, number) for who in (0, 1) for number in range(TIMES)
    ]


def test_two_that_train_networks_again_both_keep_their_results(study: StudyStore) -> None:
    at_once(lambda who, number: study.weights.note_retrained(0, 2 * number + who, Retrained(0.9, 0.8, 0.1)))
    assert sorted(study.weights._retrained(0)) == list(range(2 * TIMES))


def test_a_confirmation_of_two_runs_is_one_of_them_and_whole(study: StudyStore) -> None:
    def confirm(who: int, number: int) -> None:
        study.confirmations.write(
            Confirmation(
                trial=0, point=0, number=number, seed=1, state="complete", reason="", measurement=None, validation=None,
                epochs=1.0, seconds=1.0, provenance={"who": str(who)}, predictions=np.full(3, who, np.int16),
            )
        )  # fmt: skip

    at_once(confirm)
    found = study.confirmations.read()
    assert [each.number for each in found] == list(range(TIMES))
    for each in found:
        assert each.predictions.tolist() == [int(each.provenance["who"])] * 3


def test_a_record_restored_with_its_time_of_writing_is_read_again(study: StudyStore) -> None:
    """Its size tells: records are full of numbers with all their digits."""
    study.write_record(record(0, point(0.8, 0.5)))
    study.gather()
    path = study.trial_folder(0) / "record.json"
    written = path.stat().st_mtime_ns
    save_record(path.parent, replace(record(0), state="failed", reason="restored", points=()))
    os.utime(path, ns=(written, written))
    assert study.read_table()["state"].to_pylist() == ["failed"]


def test_files_of_earlier_versions_that_had_one_for_all_are_read(study: StudyStore) -> None:
    (study.folder / "exports.json").write_text(
        '{"format": 1, "networks": [{"trial": 1, "point": 2, "weights_sha256": "ab", "parts": {"test": '
        '{"metric": 0.7}}, "rows": {"test": 3}}]}'
    )
    study.trial_folder(1).mkdir(parents=True)
    (study.trial_folder(1) / "retrained.json").write_text(
        '{"format": 1, "points": {"2": {"recorded": 0.9, "metric": 0.8, "standard_error": 0.1}}}'
    )
    study.exports.add(exports.TestScores(0, 0, "cd", {"test": {"metric": 0.5}}, {"test": 3}))
    study.weights.note_retrained(1, 3, Retrained(0.9, 0.7, 0.1))
    assert [(each.trial, each.metric) for each in study.exports.read()] == [(0, 0.5), (1, 0.7)]
    assert study.exports.find(1, 2, "ab") is not None
    assert {point: found.metric for point, found in study.weights._retrained(1).items()} == {2: 0.8, 3: 0.7}


def test_all_damaged_records_are_named_in_one_message(study: StudyStore) -> None:
    for number in range(3):
        study.write_record(record(number, point(0.8, 0.5)))
    for number in (0, 2):
        (study.trial_folder(number) / "record.json").write_bytes(b"{")
    with pytest.raises(Damaged) as damaged:
        study.read_table()
    assert "00000/record.json is damaged" in str(damaged.value)
    assert "00002/record.json is damaged" in str(damaged.value)
    assert "00001" not in str(damaged.value)
