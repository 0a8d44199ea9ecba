"""A point again: on the seed of its trial it is the same network; on a fresh one it is measured on test rows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.export.confirm.points import choose_points, fresh_seed
from pipeline.export.confirm.retrain import Retraining, SharedInputs, retrain
from pipeline.export.reopen import Reopened, reopen
from pipeline.fronts.confirmed import load_confirmed
from pipeline.fronts.front import load_front
from pipeline.study.ledger.samplers import trial_seed
from pipeline.study.metrics import evaluate as score
from pipeline.study.records import Ask, BadInput
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import evaluate
from pipeline.trial.replay import Goal, repeat_trial
from tests.kit.compare import write_study
from tests.kit.kinds import CLASSES
from tests.kit.onetrial import NAME, SEED, TWO_ROUNDS, make_study

TARGET = {key: value for key, value in TWO_ROUNDS.items() if key != "threshold"} | {"target": 0.4}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module", params=["threshold", "target"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reopened:
    params = TWO_ROUNDS if request.param == "threshold" else TARGET
    method = "snip" if request.param == "threshold" else "chance"
    return reopen(make_study(tmp_path_factory.mktemp("again"), params, method=method).store, NAME)


@pytest.mark.parametrize(("kind", "round_"), [("curve", 0), ("curve", 1), ("recovered", 1)])
def test_on_the_trials_own_seed_it_is_the_recorded_network(study: Reopened, kind: str, round_: int) -> None:
    record = study.store.study(NAME).read_record(0)
    of_kind = [point for point in record.points if (point.kind, point.round) == (kind, round_)]
    point = of_kind[len(of_kind) // 2]
    goal = Goal(point.kind, point.round, point.threshold, point.measurement.compression)
    job = TrialJob(Ask(0, record.params, SEED), checkpoint_s=math.inf, keep_weights=False)
    found = repeat_trial(study.inputs, job, lambda _: None, goal=goal)
    assert found.anatomy.present.same(point.masks)
    rows = study.inputs.data.validation
    again = evaluate(found.model, rows, CLASSES)
    assert np.array_equal(again.predictions, point.predictions)
    expected = float(record.params["tune_epochs"]) * (0.5 if round_ == 0 else 1.0)
    expected += float(record.params["recover_epochs"]) if kind == "recovered" else 0.0
    assert found.epochs == pytest.approx(expected)


def test_a_confirmation_is_on_test_rows_and_read_back(study: Reopened) -> None:
    record = study.store.study(NAME).read_record(0)
    place = len(record.points) - 1
    goal = Goal("recovered", 1, record.points[place].threshold, record.points[place].measurement.compression)
    test = study.test()
    kept = study.store.study(NAME).confirmations
    kept.write_test(test.ids, test.labels)
    shared = SharedInputs(study.inputs, test, study.store.root, NAME)
    made = [
        retrain(shared, Retraining(0, place, number, fresh_seed(0, number), record.params, goal))
        for number in range(2)
    ]
    assert kept.has(0, place, 1)
    assert not kept.has(0, place, 2)
    found = load_confirmed(NAME, store=study.store.root)
    assert found is not None
    (point,) = found.points
    accuracies = [score("accuracy", test.labels, each.predictions)["metric"] for each in made]
    assert len(test) == 40
    assert point.metric.mean == pytest.approx(np.mean(accuracies))
    assert point.metric.deviation == pytest.approx(np.std(accuracies, ddof=1))
    assert point.selected == record.points[place].measurement.metric
    assert point.optimism.mean == pytest.approx(point.selected - point.metric.mean)
    assert [each.seed for each in point.confirmations] == [fresh_seed(0, 0), fresh_seed(0, 1)]
    with pytest.raises(BadInput, match=r"were measured on .* test rows"):
        kept.write_test(test.ids[:-1], test.labels[:-1])


def test_a_training_that_diverges_is_kept_as_failed(study: Reopened, tmp_path: Path) -> None:
    shared = SharedInputs(study.inputs, study.test(), tmp_path, NAME)
    params = study.store.study(NAME).read_record(0).params | {"learning_rate": 1e4}
    found = retrain(shared, Retraining(0, 3, 0, 1, params, Goal("recovered", 1, 0.0, 0.5)))
    assert found.state == "failed"
    assert found.measurement is None
    assert found.reason


def test_fresh_seeds_are_no_trials_seeds() -> None:
    fresh = {fresh_seed(study, number) for study in range(20) for number in range(20)}
    trials = {trial_seed(study, number) for study in range(20) for number in range(500)}
    assert len(fresh) == 400
    assert not fresh & trials


def test_points_are_chosen_evenly(tmp_path: Path) -> None:
    values = [(0.9, 0.0), (0.89, 0.02), (0.88, 0.04), (0.8, 0.5), (0.7, 0.52), (0.6, 1.0)]
    write_study(tmp_path, "one", values)
    front = load_front("one", store=tmp_path)
    assert [p.gain for p in choose_points(front, "3")] == [0.0, 0.5, 1.0]
    assert [p.gain for p in choose_points(front, "knee")] == [front.knee.gain]  # type: ignore[union-attr]
    assert choose_points(front, "all") == choose_points(front, "9") == front.points
    for wrong in ("0", "-1", "most", "1.5"):
        with pytest.raises(BadInput, match="--points"):
            choose_points(front, wrong)
