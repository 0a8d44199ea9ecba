"""What a study may be searched on: gains worked out by hand, and specs from before there was a choice."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.driver.tracking.published import fingerprint
from pipeline.fronts.front import load_front
from pipeline.study.ledger.stored import directions
from pipeline.study.records import OBJECTIVES, BadInput
from pipeline.study.store import Store
from tests.kit.ledger import ledger_at, optuna_study, record_of, spec_of
from tests.kit.synthetic import ANCHORS, point, record, spec

MEASURED = {
    "metric": 0.8,
    "compression": 0.25,
    "sparsity": 0.5,
    "macs": 2000,  # of 5000
    "latency_ms": 3.0,
    "dense_latency_ms": 12.0,
}


@pytest.mark.parametrize(
    ("objective", "gain"), [("compression", 0.25), ("sparsity", 0.5), ("macs", 0.6), ("latency", 0.75)]
)
def test_gains_by_hand(objective: str, gain: float) -> None:
    study = replace(spec(), objective=objective)
    assert study.values(MEASURED) == pytest.approx([0.8, gain])
    columns = {name: [value, None] for name, value in MEASURED.items()}
    assert study.values(columns)[0] == pytest.approx([0.8, gain])
    assert np.isnan(study.values(columns)[1]).all()


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_less_of_what_is_minimised_is_more_gain(one: float, other: float) -> None:
    for objective in OBJECTIVES.values():
        if objective.direction == "minimize":
            gains = objective.gain({objective.column: [one, other], "dense_latency_ms": 1.0}, ANCHORS)
            assert (gains[0] > gains[1]) == (one < other) or one == pytest.approx(other)
            dense = getattr(ANCHORS, objective.dense, 1.0)
            assert objective.gain({objective.column: dense, "dense_latency_ms": 1.0}, ANCHORS) == 0.0


def test_an_objective_that_was_not_measured_is_no_gain() -> None:
    study = replace(spec(), objective="latency")
    assert np.isnan(study.values(vars(point(0.8, 0.5).measurement))[1])


def test_a_front_of_macs_is_over_saved_macs(tmp_path: Path) -> None:
    """(metric, compression, saved MACs): the middle one is dominated in MACs only."""
    study = replace(spec(), objective="macs")
    rows = [(0.9, 0.2, 0.3), (0.85, 0.4, 0.25), (0.8, 0.3, 0.5)]
    points = [
        replace(made, measurement=replace(made.measurement, macs=round(5000 * (1 - saved))))
        for metric, compression, saved in rows
        for made in [point(metric, compression)]
    ]
    store = Store(tmp_path)
    store.write_spec(study)
    store.study("toy").write_record(record(0, *points))
    found = load_front("toy", store=tmp_path)
    assert [(p.metric, p.compression) for p in found.points] == [(0.9, 0.2), (0.8, 0.3)]
    assert [p.gain for p in found.points] == pytest.approx([0.3, 0.5])
    assert found.hypervolume == pytest.approx(0.3 * 0.4 + 0.2 * 0.3)
    store.write_spec(spec())
    assert [p.compression for p in load_front("toy", store=tmp_path).points] == [0.2, 0.4]


def test_a_spec_from_before_objectives_is_one_of_compression(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_spec(spec())
    file = store.study("toy").folder / "spec.json"
    old = json.loads(file.read_text())
    del old["objective"]
    file.write_text(json.dumps(old))
    assert store.study("toy").read_spec() == spec()


def test_a_ledger_from_before_objectives_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    ledger_at(url)
    old = asdict(spec_of())
    del old["objective"]
    optuna_study(url).set_user_attr("spec", old)
    assert ledger_at(url).ask().number == 0
    with pytest.raises(BadInput, match='objective: it is "compression", requested is "macs"'):
        ledger_at(url, replace(spec_of(), objective="macs"))


def test_the_run_of_an_older_study_is_found_in_mlflow() -> None:
    """By the tag that the version before objectives gave it: the sha256 of all fields that there were."""
    old = asdict(spec())
    del old["objective"], old["latency_at"], old["distill"], old["starts"], old["compile"], old["own"]
    assert fingerprint(spec()) == sha256(json.dumps(old, sort_keys=True).encode()).hexdigest()
    assert fingerprint(replace(spec(), objective="macs")) != fingerprint(spec())


def test_the_ledger_holds_gains(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    study = replace(spec_of(), objective="macs")
    ledger = ledger_at(url, study)
    asks = [ledger.ask() for _ in range(2)]
    told = record_of(asks[0])
    assert told.recovered is not None
    measured = replace(told.recovered.measurement, metric=0.75, macs=2500)  # of 10,000
    ledger.tell(replace(told, points=(replace(told.recovered, measurement=measured),)))
    assert directions() == ["maximize", "maximize"]
    assert optuna_study(url).trials[0].values == pytest.approx([0.75, 0.75])


def test_a_trial_without_its_objective_fails_with_its_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    ledger = ledger_at(url, replace(spec_of(), objective="latency"))
    ledger.tell(record_of(ledger.ask()))
    assert optuna_study(url).trials[0].user_attrs["reason"] == "latency is nan"
