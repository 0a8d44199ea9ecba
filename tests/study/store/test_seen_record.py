"""A record that another search of a study's name has left: it is replaced, or removed, if it is the one seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.study.records import TrialRecord
from pipeline.study.store import Began, Store, StudyStore
from pipeline.study.store.object_client import ObjectClient
from pipeline.study.store.seen_record import left_by_another
from pipeline.study.store.written_once import publish_record
from tests.kit.bucket import contents
from tests.kit.synthetic import point, record, spec
from tests.kit.tracking import same

OURS, THEIRS = "1a2b3c4d", "5e6f7a8b"


def of(metric: float) -> TrialRecord:
    """A record whose arrays are its own, too: within a second a bucket tells objects apart by their content."""
    return record(0, point(metric, 0.5, kind="recovered", predictions=[round(100 * metric)] * 8))


def study_in(place: Path) -> StudyStore:
    """A study whose trial has another search's record and weights."""
    store = Store(place)
    store.write_spec(spec())
    study = store.study("toy")
    study.began.write(Began(OURS))
    publish_record(study.trial_folder(0), of(0.9), search=THEIRS)
    attempt = study.attempts(0).begin()
    (attempt / "weights").mkdir()
    (attempt / "weights" / "round-01.safetensors").write_bytes(b"theirs")
    study.weights.take(0, [attempt])
    return study


@pytest.fixture(params=["a folder", "a bucket"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> StudyStore:
    if request.param == "a folder":
        return study_in(tmp_path)
    request.getfixturevalue("machine")
    return study_in(Path(f"s3://bucket/{tmp_path.name}"))


def names(study: StudyStore) -> set[str]:
    """Names of the files in the trial's folder, or bucket, but those of attempts."""
    folder = study.trial_folder(0)
    store = study._location
    found = (
        {name.partition("/trials/00000/")[2] for name in contents(Store(store.place))}
        if store.bucket is not None
        else {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    )
    return {name for name in found if name and not name.startswith("attempt-")}


def test_what_another_search_left_is_removed_with_its_arrays_and_weights(study: StudyStore) -> None:
    assert "weights/round-01.safetensors" in names(study)
    study.forget_others([0])
    assert names(study) == set()


def test_what_came_in_its_place_since_it_was_seen_stays(study: StudyStore) -> None:
    """A driver that stood still after its look; a worker has ended the trial since."""
    seen = left_by_another(study.trial_folder(0), OURS)
    assert seen is not None
    assert study.write_record(of(0.7))
    there = names(study)
    seen.remove_all()
    assert names(study) == there
    assert "record.json" in there
    assert same(study.read_record(0), of(0.7))
    study.forget_others([0])
    assert same(study.read_record(0), of(0.7))


def test_a_record_of_our_own_is_none_of_another_search(study: StudyStore) -> None:
    assert study.write_record(of(0.7))
    assert left_by_another(study.trial_folder(0), OURS) is None
    assert left_by_another(study.trial_folder(0), "") is None, "a study of an earlier version has no word"


def test_of_two_machines_that_replace_it_the_first_one_does(
    machine: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stands still just before its conditional write."""
    place = Path(f"s3://bucket/{tmp_path.name}")
    first, replace, meanwhile = study_in(place), ObjectClient.replace, list[bool]()

    def stand_still(self: ObjectClient, *request: object) -> bool:
        if not meanwhile:
            machine("second")
            meanwhile.append(True)
            second = Store(place).study("toy")
            second.refresh()
            meanwhile[0] = second.write_record(of(0.6))
        return replace(self, *request)  # type: ignore[arg-type]

    monkeypatch.setattr(ObjectClient, "replace", stand_still)
    assert not first.write_record(of(0.7))
    assert meanwhile == [True]
    machine("third")
    third = Store(place).study("toy")
    third.refresh()
    assert same(third.read_record(0), of(0.6))
    assert {name for name in names(third) if name.endswith(".safetensors")} == set()
