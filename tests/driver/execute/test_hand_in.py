"""What a worker does at the end of a trial, when others have run or run the same one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.driver.execute import trials as worker
from pipeline.driver.execute.protocol import Event, Report
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import Store
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
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    reports: list[Report] = []
    monkeypatch.setattr(worker, "_send", reports.append)
    store = Store(tmp_path)
    store.write_spec(spec())

    def attempt(body: Any) -> list[Event]:
        reports.clear()
        worker._attempt(store, ASK, worker._TrialShared(None, store.place, "toy", 1.0, body, 60.0, 0.05))  # type: ignore[arg-type]
        return [report.event for report in reports]

    attempt.study = store.study("toy")  # type: ignore[attr-defined]
    return attempt


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
