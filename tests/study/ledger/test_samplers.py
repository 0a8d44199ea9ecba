"""Samplers learn, and a study that never stopped draws what one that often did draws."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.study.ledger.samplers import SAMPLERS, random_start, trial_seed
from pipeline.study.records import BadInput
from tests.kit.ledger import SPACE, STARTS, draws, ledger_at, optuna_study, record_of, spec_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_seed_is_the_first_32_bits_of_a_sha256(seed: int, number: int) -> None:
    assert f"{trial_seed(seed, number):08x}" == hashlib.sha256(b"%d/%d" % (seed, number)).hexdigest()[:8]


@pytest.mark.parametrize(
    ("trials", "start"), [(1, 4), (16, 4), (19, 4), (20, 5), (39, 9), (40, 10), (1000, 10)]
)
def test_random_start(trials: int, start: int) -> None:
    assert random_start(trials) == start


def test_unknown_sampler_is_refused_with_the_list_and_nothing_is_written(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no sampler 'cmaes'.* tpe, nsga2, gp, random"):
        ledger_at(url, spec_of("cmaes"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_draw_complete_parameters_in_silence_however_often_interrupted(
    sampler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(sampler, seed=3)
    count = 9 if sampler == "gp" else 15  # it is slow: half a second a draw, from the sixth on
    whole = draws(f"sqlite:///{tmp_path}/whole.db", spec, trials=20, ask=count, reopen_every=count)
    assert [ask.number for ask in whole] == list(range(count))
    assert [ask.params for ask in whole[:4]] == STARTS
    for ask in whole:
        assert list(ask.params) == list(SPACE.keys)
        assert ask.seed == trial_seed(3, ask.number)
    assert {ask.params["mode"] for ask in whole[4:]} == {"off", "relative"}
    if sampler in ("tpe", "random"):  # NSGA-II may breed a twin
        assert len({ask.params["penalty"] for ask in whole}) == 15
    parts = draws(f"sqlite:///{tmp_path}/parts.db", spec, trials=20, ask=count, reopen_every=2)
    assert parts == whole
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp"])
def test_samplers_learn(sampler: str, url: str) -> None:
    def mean_log_penalty(sign: int) -> float:
        ledger = ledger_at(url, spec_of(sampler, name=f"s{sign}"))
        learned = []
        for _ in range(10 if sampler == "gp" else 25):
            ask = ledger.ask()
            log_penalty = math.log(float(ask.params["penalty"]))
            ledger.tell(record_of(ask, sign * log_penalty, compression=sign * log_penalty))
            learned.append(log_penalty)
        return float(np.mean(learned[5:]))

    # penalties run over 9.2 natural logarithms
    assert mean_log_penalty(1) - mean_log_penalty(-1) > 2


def test_another_seed_draws_other_parameters(tmp_path: Path) -> None:
    first, second = (
        draws(f"sqlite:///{tmp_path}/{seed}.db", spec_of(seed=seed), ask=8, reopen_every=8) for seed in (0, 1)
    )
    assert [ask.params for ask in first[:4]] == [ask.params for ask in second[:4]]
    assert all(a.params["penalty"] != b.params["penalty"] for a, b in zip(first[4:], second[4:], strict=True))


def test_another_process_draws_the_same_and_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.kit.ledger import *; "
        f"print([draws(f'sqlite:///{tmp_path}/there-{{s}}.db', spec_of(s), ask=14, reopen_every=7) "
        "for s in ('tpe', 'nsga2')]); "
        "print(sorted({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
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
