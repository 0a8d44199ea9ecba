"""An earlier study, read: its numbers are those of its records, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.driver.plan.earlier import Earlier, find_earlier
from pipeline.study.store import Store
from tests.kit.synthetic import point, record, spec

# (epochs, seconds, state, peak memory); the failed one says nothing
TRIALS = ((4.0, 40.0, "complete", "700"), (1.0, 20.0, "stopped", "900"), (5.0, 60.0, "complete", ""))


def store_with(folder: Path, name: str = "toy", *, count: int = 3) -> Store:
    store = Store(folder)
    store.write_spec(spec(name))
    for number, (epochs, seconds, state, memory) in enumerate(TRIALS[:count]):
        found = record(number, point(0.8, 0.5), point(0.7, 0.6, kind="recovered"), state=state)
        facts = {"peak_memory_mb": memory} if memory else {}
        store.study(name).write_record(replace(found, epochs=epochs, seconds=seconds, provenance=facts))
    store.study(name).write_record(replace(record(9, state="failed"), epochs=3.0, seconds=999.0))
    weights = store.study(name).weights.path(0, "round-00")
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"x" * 2_000_000)
    return store


def find(store: Store, **other: str) -> Earlier | None:
    asked = {"task_fingerprint": "f00d", "model_fingerprint": "beef", "method": "snip", "distill": "none"}
    return find_earlier(store, **({"space_toml": ""} | asked | other))


def test_its_numbers_are_those_of_its_trials(tmp_path: Path) -> None:
    found = find(store_with(tmp_path))
    assert found is not None
    assert found.study == "toy"
    assert [(cost.epochs, cost.seconds) for cost in found.trials] == [(4, 40), (1, 20), (5, 60)]
    assert found.seconds_per_epoch == pytest.approx(120 / 10)
    memory = found.memory(gpu=False)
    assert memory is not None
    assert (memory.low, memory.typical, memory.high, memory.source) == (700, 800, 900, "toy")
    assert found.memory(gpu=True) is None
    assert found.weights_mb == 2.0
    draw = found.draws(np.random.default_rng(0))
    assert {draw(number) for number in range(200)} == set(found.trials)


@pytest.mark.parametrize("other", ["task_fingerprint", "model_fingerprint", "method"])
def test_a_study_of_another_kind_is_not_used(tmp_path: Path, other: str) -> None:
    assert find(store_with(tmp_path), **{other: "chance"}) is None


def test_the_study_with_most_trials_is_read_but_one_of_the_same_space_first(tmp_path: Path) -> None:
    store_with(tmp_path, "few", count=1)
    store = store_with(tmp_path, "many")
    found = find(store)
    assert found is not None
    assert found.study == "many"
    store.write_spec(replace(spec("few"), space_toml=spec().space_toml + "\n"))
    same = find(store, space_toml=spec().space_toml + "\n")
    assert same is not None
    assert same.study == "few"


def test_a_study_without_a_trained_trial_is_not_used(tmp_path: Path) -> None:
    assert find(store_with(tmp_path, count=0)) is None
