"""Trials that are tuned in another one's process: who waits, who starts when, what a rung or a loss does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.driver.execute import Loss, Resources, connect, run_trials
from pipeline.driver.execute import trials as worker
from pipeline.driver.execute.protocol import ASK, BESIDE, Event, Report
from pipeline.driver.execute.tune_adapters import QueueSearcher, RungScheduler
from pipeline.model.device import forms_of_a_gpu
from pipeline.study.records import Ask, Rung
from pipeline.study.store import Store
from pipeline.trial.inputs import TrialInputs
from tests.kit.synthetic import spec
from tests.kit.trials import SNIP

RUNG = Rung(0, 0.5, 10, metric=(0.5,), compression=(0.0,))


class Trials:
    """Hands out trials, and notes all that is reported of them."""

    def __init__(self, count: int, *, params: Any = SNIP, stop: tuple[int, ...] = ()) -> None:
        self.asks = [Ask(number, dict(params), number) for number in range(count)]
        self.heard: list[tuple[str, int]] = []
        self._stop = stop

    def next(self) -> Ask | None:
        return self.asks.pop(0) if self.asks else None

    def on_wait(self, number: int, *, ended: bool) -> None:
        self.heard.append(("waited" if ended else "waits", number))

    def on_progress(self, number: int, values: object) -> None:
        self.heard.append(("progress", number))

    def on_rung(self, number: int, rung: Rung) -> bool:
        self.heard.append(("rung", number))
        return number not in self._stop

    def on_stop(self, number: int) -> None:
        self.heard.append(("stopped", number))

    def on_store_away(self, number: int, *, ended: bool) -> None: ...
    def on_restart(self, number: int, loss: Loss) -> bool:
        self.heard.append(("restart", number))
        return True

    def on_end(self, number: int, error: str | None) -> None:
        self.heard.append(("ended", number))


class Tune:
    """Calls searcher and scheduler as Tune does, without Ray."""

    def __init__(self, queue: Trials, *, stack: int, room: int = 9, limit: int | None = None) -> None:
        self.searcher = QueueSearcher(queue, lambda: room, limit, stack=stack)
        self.scheduler = RungScheduler(self.searcher)
        self.started = 0

    def start(self) -> Any:
        self.started += 1
        return self.searcher.suggest(f"t{self.started}")

    def report(self, trial: str, report: Report) -> str:
        result = flat(report.to_result())
        decision = self.scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial), result)
        if decision == "STOP":
            self.searcher.on_trial_complete(trial, result)
        else:
            self.searcher.on_trial_result(trial, result)
        return decision


def flat(result: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in result.items():
        found |= flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: value}
    return found


def numbers(config: Any) -> tuple[int, tuple[int, ...]]:
    return config[ASK].number, tuple(ask.number for ask in config[BESIDE])


def test_the_others_start_when_all_have_left_the_stack() -> None:
    queue = Trials(5)
    tune = Tune(queue, stack=3)
    assert numbers(tune.start()) == (0, (1, 2))
    assert numbers(tune.start()) == (3, (4,))  # of what is left
    assert tune.start() is None  # there is nothing to start, and it is not the end
    tune.report("t1", Report(2, Event.PROGRESS, {"epoch": 1.0}))
    assert tune.report("t1", Report(0, Event.STACKED)) == "CONTINUE"
    assert [numbers(tune.start()) for _ in range(2)] == [(1, ()), (2, ())]
    assert tune.start() is None
    tune.report("t2", Report(3, Event.STACKED))
    assert numbers(tune.start()) == (4, ())
    assert tune.start() == "FINISHED"
    waits = [
        ("waits", 1),
        ("waits", 2),
        ("waits", 4),
        ("progress", 2),
        ("waited", 1),
        ("waited", 2),
        ("waited", 4),
    ]
    assert queue.heard == waits


def test_a_trial_that_is_stopped_at_a_rung_ends_when_it_leaves_its_stack() -> None:
    queue = Trials(3, stop=(0, 2))
    tune = Tune(queue, stack=3)
    tune.start()
    for number in range(3):
        assert tune.report("t1", Report(number, Event.RUNG, rung=RUNG)) == "CONTINUE"
    assert ("stopped", 2) not in queue.heard
    assert tune.report("t1", Report(0, Event.STACKED)) == "STOP"
    assert [heard for heard in queue.heard if heard[0] == "stopped"] == [("stopped", 2), ("stopped", 0)]
    assert numbers(tune.start()) == (1, ())
    assert tune.report("t4" if tune.started == 4 else "t2", Report(1, Event.RUNG, rung=RUNG)) == "CONTINUE"
    assert tune.start() == "FINISHED"


@pytest.mark.parametrize("end", ["lost for good", "restarted", "ended"])
def test_where_the_leader_ends_otherwise_the_others_start_all_the_same(end: str) -> None:
    queue = Trials(3)
    tune = Tune(queue, stack=3)
    tune.start()
    if end == "restarted":
        assert tune.searcher.on_restart("t1", "")
    else:
        tune.searcher.on_trial_complete("t1", error=end == "lost for good")
        assert ("ended", 0) in queue.heard
    assert [numbers(tune.start()) for _ in range(2)] == [(1, ()), (2, ())]
    assert tune.report("t1", Report(0, Event.STACKED)) == "CONTINUE"  # of a process that was thought lost
    assert tune.start() == "FINISHED"


def test_without_a_stack_every_trial_is_alone() -> None:
    tune = Tune(Trials(2), stack=1)
    assert [numbers(tune.start()) for _ in range(2)] == [(0, ()), (1, ())]
    assert tune.start() == "FINISHED"


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def inputs(make_inputs: Callable[..., TrialInputs]) -> TrialInputs:
    return make_inputs("snip")


def test_a_process_tunes_all_and_goes_on_with_its_own(
    inputs: TrialInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, said = Store(tmp_path), []
    store.write_spec(spec("toy"))
    monkeypatch.setattr(worker, "_send", said.append)
    shared = worker._TrialShared(inputs, store.place, "toy", 1.0, None, 60.0, 0.0)
    first, second = Ask(0, SNIP, 1), Ask(1, SNIP | {"rounds": 2}, 2)
    with forms_of_a_gpu():
        worker._attempt(store, first, shared, (second,))
    study = store.study("toy")
    stacked = next(place for place, report in enumerate(said) if report.event is Event.STACKED)
    assert {report.number for report in said[:stacked]} == {0, 1}
    assert {report.number for report in said[stacked:]} == {0}
    assert said[-1] == Report(0, Event.ENDED)
    assert study.read_record(0).provenance["stacked_trials"] == "2"
    assert not study.has_record(1)
    worker._attempt(store, second, shared)
    record = study.read_record(1)
    assert record.provenance["stacked_trials"] == "2"
    assert record.provenance["resumed_at_epoch"] == "1"  # of its first round
    # started anew after a loss, with the same configuration: it is not stacked again
    said.clear()
    worker._attempt(store, first, shared, (second,))
    assert said == [Report(0, Event.ENDED)]


@pytest.mark.usefixtures("one_ray")
def test_stacks_on_ray(inputs: TrialInputs, tmp_path: Path) -> None:
    store, queue = Store(tmp_path), Trials(3)
    store.write_spec(spec("toy"))
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        run_trials(
            cluster, replace(inputs, device=cluster.device), store=store, study="toy", queue=queue, stack=2
        )
    assert [number for what, number in queue.heard if what == "ended"] == [0, 1, 2]
    assert [number for what, number in queue.heard if what == "waited"] == [1]
    records = [store.study("toy").read_record(number) for number in range(3)]
    assert [record.state for record in records] == ["complete"] * 3
    why = [record.provenance.get("not_stacked", "") for record in records]
    assert "vmap" in why[0]  # of a CPU's forms
    assert why[1:] == ["", ""]
