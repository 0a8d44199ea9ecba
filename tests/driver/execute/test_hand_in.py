"""What a worker does at the end of a trial, when others have run or run the same one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipeline.driver.execute import trials as worker
from pipeline.driver.execute.protocol import Event, Report
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import Began, Store, StudyStore
from pipeline.study.store.written_once import publish_record
from tests.kit.points import POINTS, install
from tests.kit.synthetic import point, record, spec

ASK = Ask(0, record(0).params, record(0).seed)


def ends_with(metric: float, *, meanwhile: Any = None) -> Any:
    """The body of a trial; `meanwhile` happens while it trains."""

    def body(_inputs: Any, job: Any, *_: Any) -> TrialRecord:
        if meanwhile is not None:
            meanwhile()
        (job.attempts[-1] / "weights").mkdir()
        (job.attempts[-1] / "weights" / "recovered.safetensors").write_bytes(f"{metric}".encode())
        return replace(record(0, point(metric, 0.5, kind="recovered")), params=ASK.params, seed=ASK.seed)

    return body


def fails(*_: Any) -> TrialRecord:
    raise ValueError("no")


@pytest.fixture
def new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """What makes a study in a new store, as a function that runs an attempt at its trial."""
    reports: list[Report] = []
    monkeypatch.setattr(worker, "_send", reports.append)
    numbers = count()

    def make() -> Any:
        store = Store(tmp_path / str(next(numbers)))
        store.write_spec(spec())

        def attempt(body: Any) -> list[Event]:
            reports.clear()
            search = store.study("toy").search
            shared = worker._TrialShared(None, store.place, "toy", 1.0, body, 60.0, 0.05, search)  # type: ignore[arg-type]
            worker._attempt(store, ASK, shared)
            return [report.event for report in reports]

        attempt.study = store.study("toy")  # type: ignore[attr-defined]
        attempt.study.began.write(Began("1a2b3c4d"))  # type: ignore[attr-defined]
        return attempt

    return make


@pytest.fixture
def run(new_run: Callable[[], Any]) -> Any:
    return new_run()


def metric_of(run: Any) -> float:
    found = run.study.read_record(0).recovered
    assert found is not None
    return float(found.measurement.metric)


def test_a_trial_that_has_ended_is_not_run_again(run: Any) -> None:
    """Its process died before the driver knew: Ray starts it again."""
    assert run(ends_with(0.8)) == [Event.ENDED]
    assert run(ends_with(0.7, meanwhile=lambda: pytest.fail("it was trained again"))) == [Event.ENDED]
    assert metric_of(run) == 0.8
    assert run.study.weights.path(0, "recovered").read_bytes() == b"0.8"


def test_an_attempt_that_was_overtaken_changes_nothing(run: Any) -> None:
    """A driver was paused, another took over and ran the trial to its end; then the first one's worker goes on."""
    assert run(ends_with(0.8, meanwhile=lambda: run(ends_with(0.7)))) == [Event.ENDED, Event.ENDED]
    assert metric_of(run) == 0.7
    assert run.study.weights.path(0, "recovered").read_bytes() == b"0.7"
    assert run.study.attempts(0).folders() == []


def test_an_overtaken_attempt_that_fails_is_not_the_trials_end(run: Any) -> None:
    def begin_another_then_fail(*_: Any) -> TrialRecord:
        run.study.attempts(0).begin()
        return fails()

    with pytest.raises(
        RuntimeError, match="later attempt at trial 0 has begun; this one failed: ValueError: no"
    ):
        run(begin_another_then_fail)
    assert not run.study.has_record(0)
    assert run(fails) == [Event.ENDED]
    assert run.study.read_record(0).state == "failed"


def another_search_begins(run: Any) -> None:
    """As a search does whose name an earlier one has left before its dense network was trained."""
    shutil.rmtree(run.study.folder)
    run.study.began.write(Began("5e6f7a8b"))


def test_a_worker_of_an_earlier_search_of_the_name_leaves_nothing(run: Any) -> None:
    """Its driver is gone, and it was cut off; what it writes makes the trial's folder again."""

    def begins_anew_then_writes(_inputs: Any, job: Any, *_: Any) -> TrialRecord:
        another_search_begins(run)
        (job.attempts[-1] / "checkpoint-000-0000009").mkdir(parents=True)
        assert run.study.attempts(0).folders() == [], "its checkpoint is not the other search's"
        return ends_with(0.8)(None, job)

    with pytest.raises(RuntimeError, match="another search of the name has replaced"):
        run(begins_anew_then_writes)
    assert not run.study.has_record(0)
    assert list(run.study.folder.glob("trials/*/*")) == []
    assert run(ends_with(0.7)) == [Event.ENDED]
    assert metric_of(run) == 0.7


def slipped(run: Any) -> None:
    """The record of a worker of another search, which stood still between its look and its write, and weights."""
    late = replace(record(0, point(0.9, 0.5, kind="recovered")), params=ASK.params, seed=ASK.seed)
    folder = run.study.trial_folder(0)
    assert publish_record(folder, late, search="5e6f7a8b")
    (folder / "weights").mkdir()
    (folder / "weights" / "round-01.safetensors").write_bytes(b"another network")


def stands_still(run: Any, at: int, meanwhile: Any) -> bool:
    """Run the trial to its end, with 0.7; at a point of its files something happens. Return whether it was reached."""
    install()
    reached = []

    def on_pause() -> None:
        POINTS.end()
        reached.append(at)
        meanwhile()

    def hand_in_then(_inputs: Any, job: Any, *_: Any) -> TrialRecord:
        found = ends_with(0.7)(None, job)
        POINTS.on_pause = on_pause
        POINTS.begin(run.study.folder, fault="pause", at=at)
        return found

    try:
        with suppress(RuntimeError, OSError):  # another search has replaced it, or its folder is gone
            run(hand_in_then)
    finally:
        POINTS.end()
    return bool(reached)


def whole(run: Any) -> float:
    """The metric of a trial that has ended: its record and weights are one attempt's, and nothing else is left."""
    metric, folder = metric_of(run), run.study.trial_folder(0)
    assert run.study.has_record(0)
    assert sorted(path.name for path in folder.glob("weights/*")) == ["recovered.safetensors"]
    assert run.study.weights.path(0, "recovered").read_bytes() == f"{metric}".encode()
    left = [
        path.name for path in folder.rglob("*") if path.name.endswith(".part") or path.name.startswith("att")
    ]
    assert left == []
    return metric


def test_of_two_that_replace_another_searchs_record_the_first_stays(
    new_run: Callable[[], Any],
) -> None:
    """One stands still at each point of its hand-in; meanwhile another attempt ends the trial."""
    ended = []
    for at in count(1):
        run = new_run()
        slipped(run)
        if not stands_still(run, at, partial(run, ends_with(0.6))):
            break
        ended.append(whole(run))
    assert {*ended} == {0.6, 0.7}
    assert ended == sorted(ended), "until the first one's record is there it is the other one's"
    assert len(ended) > 12


def test_a_worker_of_an_earlier_search_replaces_no_record_at_any_point(new_run: Callable[[], Any]) -> None:
    """It stands still at each point of its hand-in; meanwhile another search begins, and ends the trial."""

    def begins_anew_and_ends() -> None:
        another_search_begins(run)
        assert run(ends_with(0.6)) == [Event.ENDED]

    for at in count(1):
        run = new_run()
        if not stands_still(run, at, begins_anew_and_ends):
            break
        assert whole(run) == 0.6, at
    assert at >= 10


def test_a_worker_of_an_earlier_search_that_stood_still_after_its_look_replaces_no_record(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees the other search's record, which is another one's for it, as its own is for the other."""
    look = worker._check_search

    def look_then_stand_still(study: StudyStore, job: Any = None) -> None:
        look(study, job)
        if job is not None and job.attempts:
            monkeypatch.setattr(worker, "_check_search", look)
            another_search_begins(run)
            assert run(ends_with(0.6)) == [Event.ENDED]

    monkeypatch.setattr(worker, "_check_search", look_then_stand_still)
    run(ends_with(0.7))
    assert whole(run) == 0.6


def test_a_record_that_slipped_through_is_not_the_other_searchs(run: Any) -> None:
    """The earlier worker stood still between its look and its write."""
    assert run(ends_with(0.7, meanwhile=lambda: slipped(run))) == [Event.ENDED]
    assert metric_of(run) == 0.7
    assert [path.name for path in run.study.weights.path(0, "x").parent.iterdir()] == [
        "recovered.safetensors"
    ]
    assert run(ends_with(0.6)) == [Event.ENDED], "it has ended"
    assert metric_of(run) == 0.7
