"""The ledger: whatever dies, every trial exists once, whole, and finished work is told once."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import BaseTrial, TrialState

from pipeline.study.ledger.ledger import Counts, Found, open_ledger
from pipeline.study.ledger.samplers import trial_seed
from pipeline.study.records import Ask, BadInput, Params, TrialRecord
from pipeline.study.space.space import Space, load_space
from pipeline.study.store import Store, mark_died
from tests.kit.ledger import SPACE, STARTS, ask_forever, ledger_at, optuna_study, record_of, spec_of


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


# --- atomic asks


def ask_into(descriptor: int, url: str) -> None:
    sys.stdout = os.fdopen(descriptor, "w")
    ask_forever(url)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_killed_driver_leaves_whole_trials_only(url: str) -> None:
    chance = random.Random(0)
    seen: list[int] = []
    for _ in range(3):
        ours, theirs = os.pipe()
        driver = get_context("fork").Process(target=ask_into, args=(theirs, url))
        driver.start()
        os.close(theirs)
        with os.fdopen(ours) as lines:
            seen += [int(line) for line in itertools.islice(lines, 10)]
            time.sleep(chance.uniform(0, 0.05))
            driver.kill()
            seen += [int(line) for line in lines]
        driver.join()
    trials = optuna_study(url).trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert set(seen) <= set(range(len(trials)))
    assert max(Counter(seen).values()) == 1
    for trial in trials:
        assert list(trial.user_attrs["params"]) == list(SPACE.keys)
        assert sorted(trial.params) == sorted(SPACE.active(trial.user_attrs["params"]))
    assert len({trial.params["penalty"] for trial in trials}) == len(trials)
    ledger = ledger_at(url)
    assert ledger.counts().failed == 0
    assert {ask.number for ask in ledger.owed()} == {
        t.number for t in trials if t.state == TrialState.RUNNING
    }


def test_a_trial_with_incomplete_parameters_fails_and_does_not_count(url: str) -> None:
    ledger_at(url)
    older_tool = optuna_study(url)
    older_tool.ask().suggest_float("penalty", 0.001, 10.0, log=True)
    older_tool.enqueue_trial({"penalty": 1.0})
    ledger = ledger_at(url)
    first = ledger.ask()
    assert first == Ask(2, STARTS[0], trial_seed(0, 2))  # the defaults are not lost with number 0
    assert ledger.counts() == Counts(complete=0, stopped=0, failed=0, running=1)
    assert [trial.state.name for trial in older_tool.trials] == ["FAIL", "FAIL", "RUNNING"]
    assert "incomplete" in older_tool.trials[0].user_attrs["reason"]


def test_a_draw_that_breaks_leaves_no_trace(url: str) -> None:
    class BrokenOnce(Space):
        def sample(self, trial: BaseTrial) -> Params:
            params = super().sample(trial)
            if not broken:
                broken.append(trial)
                raise KeyboardInterrupt
            return params

    broken: list[BaseTrial] = []
    ledger = open_ledger(url, spec_of(), BrokenOnce(SPACE.keys), trials=20)
    with pytest.raises(KeyboardInterrupt):
        ledger.ask()
    assert ledger.ask() == Ask(0, STARTS[0], trial_seed(0, 0))
    assert len(optuna_study(url).trials) == 1


def test_two_drivers_in_one_study_do_not_spoil_it(url: str) -> None:
    one, other = ledger_at(url), ledger_at(url)
    assert (one.counts(), other.counts()) == (Counts(0, 0, 0, 0), Counts(0, 0, 0, 0))
    kept = one.ask()
    with pytest.raises(BadInput, match="One command at a time"):
        other.ask()
    one.tell(record_of(kept))
    other.tell(record_of(kept))  # it read the trial as running, and is told that it has ended the same way
    assert ledger_at(url).counts() == other.counts() == Counts(complete=1, stopped=0, failed=0, running=0)
    assert other.ask() == Ask(1, STARTS[1], trial_seed(0, 1))  # the refused draw left nothing


@pytest.mark.parametrize("pretrained", [True, False])
def test_the_packaged_space_through_a_ledger(pretrained: bool, url: str) -> None:
    space = load_space("snip", file=None, pretrained=pretrained)
    ledger = open_ledger(url, dataclasses.replace(spec_of(), space_toml=space.toml), space, trials=8)
    asks = [ledger.ask() for _ in range(8)]
    assert [ask.params for ask in asks[: len(space.starts())]] == space.starts()
    for ask, trial in zip(asks, optuna_study(url).trials, strict=True):
        assert sorted(trial.params) == sorted(space.active(ask.params))
        assert {name: ask.params[name] for name in trial.params} == trial.params


# --- tell


def test_what_the_ledger_keeps_of_each_outcome(url: str) -> None:
    ledger = ledger_at(url)
    told = [
        (record_of(ledger.ask(), 0.8, reason="a remark"), "COMPLETE", "a remark"),
        (record_of(ledger.ask(), state="stopped", reason="rung 2"), "PRUNED", "rung 2"),
        (record_of(ledger.ask(), state="failed", reason="loss is nan"), "FAIL", "loss is nan"),
        (record_of(ledger.ask(), float("nan")), "FAIL", "metric is nan"),
        (record_of(ledger.ask(), float("-inf")), "FAIL", "metric is -inf"),
        (
            dataclasses.replace(record_of(ledger.ask()), points=()),
            "FAIL",
            "it ended without a recovered point",
        ),
    ]
    for record, _, _ in told:
        ledger.tell(record)
    study = optuna_study(url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MAXIMIZE"]
    for trial, (_, state, reason) in zip(study.trials, told, strict=True):
        assert (trial.state.name, trial.user_attrs["reason"]) == (state, reason)
    assert study.trials[0].values == [0.8, pytest.approx(0.01 / 1.01)]  # metric, compression
    assert study.trials[0].constraints == {}
    assert all(trial.values is None for trial in study.trials[1:])
    expected = Counts(complete=1, stopped=1, failed=4, running=0)
    assert ledger.counts() == ledger_at(url).counts() == expected
    assert expected.ended == 6


def test_telling_twice(url: str) -> None:
    ledger = ledger_at(url)
    ask = ledger.ask()
    for teller in (ledger, ledger, ledger_at(url)):
        teller.tell(record_of(ask, 0.8))
    assert ledger.counts() == Counts(complete=1, stopped=0, failed=0, running=0)
    with pytest.raises(ValueError, match="A trial ends once"):
        ledger.tell(record_of(ask, 0.7))
    with pytest.raises(ValueError, match="A trial ends once"):
        ledger_at(url).tell(record_of(ask, state="failed", reason="lost"))
    assert optuna_study(url).trials[0].values[0] == 0.8


def test_a_record_of_another_trial_is_refused(url: str) -> None:
    ledger = ledger_at(url)
    ask = ledger.ask()
    for other in (Ask(1, ask.params, 0), Ask(-1, ask.params, 0), Ask(0, {**ask.params, "penalty": 3.0}, 0)):
        with pytest.raises(ValueError, match="A record belongs to a trial of the ledger"):
            ledger.tell(record_of(other))
    assert ledger.counts().running == 1


# --- however often the driver dies


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["ask", "ask", "complete", "stopped", "failed", "die"]), max_size=14))
def test_every_trial_exists_once(steps: list[str], url: str) -> None:
    spec = spec_of("random", name=f"s{next(SERIAL)}")
    ledger = ledger_at(url, spec)
    running: dict[int, Ask] = {}
    ended: Counter[str] = Counter()
    asked = 0
    for step in steps:
        if step == "die":
            ledger = ledger_at(url, spec)
        elif step == "ask":
            ask = ledger.ask()
            assert ask.number == asked
            running[ask.number], asked = ask, asked + 1
        elif running:
            ledger.tell(record_of(running.pop(max(running)), state=step))
            ended[step] += 1
        assert ledger.owed() == tuple(running[number] for number in sorted(running))
        counts = ledger.counts()
        assert (counts.complete, counts.stopped, counts.failed, counts.running) == (
            ended["complete"], ended["stopped"], ended["failed"], len(running),
        )  # fmt: skip


SERIAL = itertools.count()


# --- what earlier drivers left


def test_what_earlier_drivers_left(url: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    ledger = ledger_at(url)
    asks = [ledger.ask() for _ in range(6)]
    ledger.tell(record_of(asks[0]))
    store.study("s").write_record(record_of(asks[0]))
    store.study("s").write_record(record_of(asks[1]))  # the driver died before it told
    store.study("s").write_record(record_of(asks[2], state="stopped", reason="rung 1"))
    for _ in range(3):
        mark_died(store.study("s").attempts(1).begin())  # finished work is never given up
        mark_died(store.study("s").attempts(3).begin())
        store.study("s").attempts(4).begin()  # their driver died
    optuna_study(url).ask()

    ledger = ledger_at(url)
    assert ledger.reconcile(store) == Found(finished=(1, 2), lost=(3,), unasked=(6,), owed=(asks[4], asks[5]))
    assert ledger.counts() == Counts(complete=2, stopped=1, failed=1, running=2)
    lost = store.study("s").read_record(3)
    expected = TrialRecord(3, "failed", "worker lost 3 times", asks[3].params, asks[3].seed, attempts=3)
    assert lost == expected
    assert [trial.state.name for trial in optuna_study(url).trials] == (
        ["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "RUNNING", "RUNNING", "FAIL"]
    )
    for again in (ledger, ledger_at(url)):
        assert again.reconcile(store).finished == again.reconcile(store).lost == ()
        assert again.owed() == (asks[4], asks[5])
    assert ledger.ask().number == 7


def test_a_driver_that_died_between_giving_up_and_telling(url: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    ask = ledger_at(url).ask()
    record = record_of(ask, state="failed", reason="worker lost 3 times")
    store.study("s").write_record(record)
    assert ledger_at(url).reconcile(store).finished == (0,)
    assert optuna_study(url).trials[0].user_attrs["reason"] == "worker lost 3 times"


def test_a_store_of_another_ledger_is_refused(url: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.study("s").write_record(record_of(Ask(0, {**STARTS[0], "penalty": 3.0}, 0)))
    ledger = ledger_at(url)
    with pytest.raises(BadInput, match=r"numbers 0\).*A store and a ledger belong together"):
        ledger.reconcile(store)
    ledger.ask()
    with pytest.raises(BadInput, match=r"numbers 0\).*A store and a ledger belong together"):
        ledger.reconcile(store)
    assert ledger.counts().running == 1
