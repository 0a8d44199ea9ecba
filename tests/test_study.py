"""The ledger: whatever dies, every trial exists once, and is drawn as in a study that never stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from pipeline.records import Anchors, BadInput, Masks, Measurement, Params, Point, StudySpec, TrialRecord
from pipeline.samplers import SAMPLERS, random_start, trial_seed
from pipeline.storage import refuse_difference, spec_difference
from pipeline.study import Ask, Counts, Ledger, open_ledger

SPACE_TOML = "[penalty]\nlow = 0.001\nhigh = 10.0\n[mode]\nchoices = ['off', 'relative']\n"


class TinySpace:
    """Two parameters of every trial, one of some: what the ledger knows of a space."""

    def starts(self) -> list[Params]:
        return [{"penalty": x, "mode": "off", "level": "block"} for x in (0.01, 0.1, 1.0, 5.0)]

    def sample(self, trial: optuna.Trial) -> Params:
        params: Params = {
            "penalty": trial.suggest_float("penalty", 0.001, 10.0, log=True),
            "mode": trial.suggest_categorical("mode", ["off", "relative"]),
            "level": "block",
        }
        if params["mode"] == "relative":
            params["bound"] = trial.suggest_float("bound", 0.5, 2.0)
        return params


def spec_of(sampler: str = "tpe", *, seed: int = 0, name: str = "s") -> StudySpec:
    anchors = Anchors(0.5, 0.9, 2e-5, 9.0, 1000, 800, 10_000, 0.004)
    return StudySpec(
        name,
        "toy",
        "rows",
        "accuracy",
        100,
        "tiny",
        "weights",
        "snip",
        SPACE_TOML,
        sampler,
        seed,
        "fp32",
        anchors,
    )


def record_of(
    ask: Ask,
    metric: float | None = None,
    *,
    compression: float | None = None,
    state: str = "complete",
    reason: str = "",
) -> TrialRecord:
    """The record of a trial whose compression rises, and whose metric falls, with its penalty."""
    if state != "complete":
        return TrialRecord(ask.number, state, reason, ask.params, ask.seed)
    penalty = float(ask.params["penalty"])
    metric = 1 / (1 + penalty * float(ask.params.get("bound", 1.0))) if metric is None else metric
    compression = penalty / (1 + penalty) if compression is None else compression
    measured = Measurement(metric, {}, compression, 0.0, 1, 1, 1, 1.0)
    point = Point("recovered", 1, 0.0, measured, Masks.full(1, 1, 1), np.zeros(1))
    return TrialRecord(ask.number, "complete", reason, ask.params, ask.seed, points=(point,))


def ledger_at(url: str, spec: StudySpec | None = None, *, trials: int = 20) -> Ledger:
    return open_ledger(url, spec or spec_of(), TinySpace(), trials=trials)


def optuna_study(url: str, name: str = "s") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def draws(url: str, spec: StudySpec, *, ask: int, reopen_every: int, trials: int = 20) -> list[Ask]:
    """Asks for trials of a study of `trials`, two of which always run, with a new driver now and then."""
    asks: list[Ask] = []
    running: deque[Ask] = deque()
    for done in range(ask):
        if done % reopen_every == 0:
            ledger = ledger_at(url, spec, trials=trials)
            assert ledger.owed() == tuple(running)
        asks.append(ledger.ask())
        running.append(asks[-1])
        if len(running) > 2:
            ledger.tell(record_of(running.popleft()))
    return asks


def ask_forever(url: str) -> None:
    """A driver that asks and tells until it is killed."""
    ledger = ledger_at(url)
    while True:
        ask = ledger.ask()
        print(ask.number, flush=True)
        if ask.number % 2:
            ledger.tell(record_of(ask))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


# --- seeds and samplers


@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_seed_is_the_first_32_bits_of_a_sha256(seed: int, number: int) -> None:
    assert f"{trial_seed(seed, number):08x}" == hashlib.sha256(b"%d/%d" % (seed, number)).hexdigest()[:8]


@pytest.mark.parametrize(
    ("trials", "start"), [(1, 4), (16, 4), (19, 4), (20, 5), (39, 9), (40, 10), (1000, 10)]
)
def test_random_start(trials: int, start: int) -> None:
    assert random_start(trials) == start


def test_unknown_sampler_is_refused_with_the_list_and_nothing_is_written(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tpe, nsga2, gp, random; asked for was the sampler 'cmaes'"):
        ledger_at(url, spec_of("cmaes"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_draw_complete_parameters_in_silence_however_often_interrupted(
    sampler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(sampler, seed=3)
    whole = draws(f"sqlite:///{tmp_path}/whole.db", spec, trials=20, ask=15, reopen_every=15)
    assert [ask.number for ask in whole] == list(range(15))
    assert [ask.params for ask in whole[:4]] == TinySpace().starts()
    for ask in whole:
        keys = {"penalty", "mode", "level"} | ({"bound"} if ask.params["mode"] == "relative" else set())
        assert set(ask.params) == keys
        assert ask.seed == trial_seed(3, ask.number)
    assert any("bound" in ask.params for ask in whole)
    if sampler in ("tpe", "random"):  # NSGA-II may breed a twin
        assert len({ask.params["penalty"] for ask in whole}) == 15
    some = 10 if sampler == "gp" else 15  # it is slow: half a second a draw
    parts = draws(f"sqlite:///{tmp_path}/parts.db", spec, trials=20, ask=some, reopen_every=2)
    assert parts == whole[:some]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp"])
def test_samplers_learn(sampler: str, url: str) -> None:
    def mean_log_penalty(sign: int) -> float:
        ledger = ledger_at(url, spec_of(sampler, name=f"s{sign}"))
        learned = []
        for _ in range(10 if sampler == "gp" else 40):
            ask = ledger.ask()
            log_penalty = math.log(float(ask.params["penalty"]))
            ledger.tell(record_of(ask, sign * log_penalty, compression=sign * log_penalty))
            learned.append(log_penalty)
        return float(np.mean(learned[5:]))

    # penalties run over 9.2 natural logarithms
    assert mean_log_penalty(1) - mean_log_penalty(-1) > 2


# --- draws over restarts


def test_another_seed_draws_other_parameters(tmp_path: Path) -> None:
    first, second = (
        draws(f"sqlite:///{tmp_path}/{seed}.db", spec_of(seed=seed), ask=8, reopen_every=8) for seed in (0, 1)
    )
    assert [ask.params for ask in first[:4]] == [ask.params for ask in second[:4]]
    assert all(a.params["penalty"] != b.params["penalty"] for a, b in zip(first[4:], second[4:], strict=True))


def test_another_process_draws_the_same_and_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from test_study import *; "
        f"print([draws(f'sqlite:///{tmp_path}/there-{{s}}.db', spec_of(s), ask=14, reopen_every=7) "
        "for s in ('tpe', 'nsga2')]); "
        "print(sorted({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent)}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    here = [
        draws(f"sqlite:///{tmp_path}/here-{s}.db", spec_of(s), ask=14, reopen_every=7)
        for s in ("tpe", "nsga2")
    ]
    assert there.stdout.splitlines() == [str(here), "[]"]


def test_nsga2_breeds_from_the_starts_and_keeps_its_parents(url: str) -> None:
    draws(url, spec_of("nsga2"), ask=16, reopen_every=3, trials=16)
    trials = optuna_study(url).trials
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in trials]
    # A population of 4. Trial n is asked for when 0 ... n - 3 have ended, and opens a new generation
    # if 4 of the last one have: 6 is the first to see 0 ... 3, and 12 the first to see 6 ... 9.
    assert generations == [0] * 6 + [1] * 6 + [2] * 4
    parents = [trial.user_attrs["sampler"] for trial in trials if "sampler" in trial.user_attrs]
    assert [key for noted in parents for key in noted] == [
        "NSGAIISampler:parent:1",
        "NSGAIISampler:parent:2",
    ]
    assert set(parents[0]["NSGAIISampler:parent:1"]) == {0, 1, 2, 3}


# --- atomic asks


def test_a_killed_driver_leaves_whole_trials_only(url: str) -> None:
    chance = random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    program = f"from test_study import ask_forever; ask_forever({url!r})"
    seen: list[int] = []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
        ) as driver:
            assert driver.stdout is not None
            seen += [int(line) for line in itertools.islice(driver.stdout, 10)]
            time.sleep(chance.uniform(0, 0.05))
            driver.send_signal(signal.SIGKILL)
            seen += [int(line) for line in driver.stdout]
    trials = optuna_study(url).trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert set(seen) <= set(range(len(trials)))
    assert max(Counter(seen).values()) == 1
    for trial in trials:
        assert set(trial.params) | {"level"} == set(trial.user_attrs["params"])
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
    assert first == Ask(
        2, TinySpace().starts()[0], trial_seed(0, 2)
    )  # the defaults are not lost with number 0
    assert ledger.counts() == Counts(complete=0, stopped=0, failed=0, running=1)
    assert [trial.state.name for trial in older_tool.trials] == ["FAIL", "FAIL", "RUNNING"]
    assert "incomplete" in older_tool.trials[0].user_attrs["reason"]


def test_a_draw_that_breaks_leaves_no_trace(url: str) -> None:
    class BrokenOnce(TinySpace):
        broken = False

        def sample(self, trial: optuna.Trial) -> Params:
            params = super().sample(trial)
            if not self.broken:
                self.broken = True
                raise KeyboardInterrupt
            return params

    ledger = open_ledger(url, spec_of(), BrokenOnce(), trials=20)
    with pytest.raises(KeyboardInterrupt):
        ledger.ask()
    assert ledger.ask() == Ask(0, TinySpace().starts()[0], trial_seed(0, 0))
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
    assert other.ask() == Ask(2, TinySpace().starts()[1], trial_seed(0, 2))


# --- tell


def test_what_is_told(url: str) -> None:
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
        with pytest.raises(ValueError, match="A record belongs to the trial"):
            ledger.tell(record_of(other))
    assert ledger.counts().running == 1


# --- however often the driver dies


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# --- the frozen spec


def test_a_study_goes_on_with_its_own_spec_only(url: str) -> None:
    spec = spec_of()
    ledger_at(url, spec)
    ledger_at(url, dataclasses.replace(spec, space_toml=SPACE_TOML + "# said otherwise\n"), trials=500)
    other = dataclasses.replace(
        spec,
        seed=1,
        space_toml=SPACE_TOML.replace("10.0", "20.0").replace("'off', ", "") + "[bound]\nlow = 0.5\n",
        anchors=dataclasses.replace(spec.anchors, dense=0.91),
    )
    lines = [
        "  space.penalty.high: it is 10.0, asked for is 20.0",
        '  space.mode.choices: it is ["off", "relative"], asked for is ["relative"]',
        "  seed: it is 0, asked for is 1",
        "  anchors.dense: it is 0.9, asked for is 0.91",
        "  space.bound.low: it is (absent), asked for is 0.5",
    ]
    with pytest.raises(BadInput) as refused:
        ledger_at(url, other)
    law, *facts, way_out = str(refused.value).splitlines()
    assert facts == lines
    assert law.startswith("A study's name stands for one spec")
    assert way_out.startswith("Give another --name")
    with pytest.raises(BadInput) as before_opening:
        refuse_difference(spec, other)
    assert str(before_opening.value) == str(refused.value)
    refuse_difference(spec, spec)


def test_a_study_of_another_program_is_refused(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="s")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(BadInput, match="no spec of ours"):
        ledger_at(url)


def test_a_study_whose_maker_died_before_the_spec_is_taken_up(url: str) -> None:
    optuna.create_study(storage=url, study_name="s", directions=["maximize", "maximize"])
    ledger_at(url)
    with pytest.raises(BadInput, match="seed: it is 0, asked for is 1"):
        ledger_at(url, spec_of(seed=1))


FIELDS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2) | st.floats() | st.text(max_size=2))


@given(FIELDS, FIELDS)
def test_differences_are_the_fields_that_differ(was: dict[str, object], now: dict[str, object]) -> None:
    # repr tells NaN equal to itself and 1 from 1.0, as a spec should
    expected = {key for key in "abcd" if repr(was.get(key, "absent")) != repr(now.get(key, "absent"))}
    assert {line.partition(":")[0] for line in spec_difference(was, now)} == expected


# --- storages


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (
            "sqlite:////no/such/folder/studies.db",
            "sqlite:////no/such/folder/studies.db cannot be opened (Operat",
        ),
        ("postgresql://ann:hun%40ter2@db.example:5432/studies", "postgresql://db.example:5432/studies"),
        ("nosuch://ann:hunter2@db.example/studies", "nosuch://db.example/studies"),
        ("postgresql://db.example/studies?password=hunter2", "postgresql://db.example/studies cannot"),
        ("postgresql://ann:hun@ter2@db.example/studies", "the URL given"),
        ("postgresql://ann:hunter2", "the URL given"),
        ("hunter2", "the URL given"),
    ],
)
def test_a_storage_that_cannot_be_opened(bad: str, shown: str) -> None:
    with pytest.raises(BadInput) as refused:
        ledger_at(bad)
    assert shown in str(refused.value)
    assert "ter2" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    file.write_text("not a database, but long enough to be looked at by sqlite" * 20)
    with pytest.raises(BadInput, match="file is not a database"):
        ledger_at(f"sqlite:///{file}")
