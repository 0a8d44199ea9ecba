"""Recoveries in vain are left out: no epoch is charged, and the network is the curve's."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.export.network import network_of
from pipeline.export.reopen import reopen
from pipeline.study.records import UNRECOVERED, Ask, HistoryRow, Params
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import evaluate
from pipeline.trial.replay import Goal, repeat_trial
from pipeline.trial.settings import TrialSettings
from pipeline.trial.trial import run_trial
from pipeline.trial.vain import learned_nothing, why_in_vain
from tests.kit.kinds import CLASSES
from tests.kit.onetrial import NAME, make_study
from tests.kit.trials import CHANCE, SNIP, curve

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.mark.parametrize(
    ("share", "recover", "epochs", "vain"),
    [
        (0.0, "point", 1.0, True),
        (0.001, "point", 1.0, False),
        (0.985, "point", 1.0, False),
        (0.99, "point", 1.0, True),
        (0.0, "point", 0.0, False),  # there is none to leave out
        (0.0, "ladder", 1.0, False),  # its other networks are worth it
        (0.995, "chain", 1.0, False),
    ],
)
def test_a_cut_that_is_no_cut_or_leaves_nothing(
    share: float, recover: str, epochs: float, vain: bool
) -> None:
    settings = TrialSettings.of(CHANCE | {"recover": recover, "recover_epochs": epochs})
    assert bool(why_in_vain(settings, share)) == vain


@pytest.mark.parametrize(
    ("loss", "metric", "steps", "nothing"),
    [(9.0, 0.0, 100, True), (9.0, 0.0, 99, False), (9.0, 1.0, 100, False), (0.0, 0.0, 100, False)],
)
def test_a_network_that_learned_nothing_by_loss_and_by_metric(
    make_inputs, loss: float, metric: float, steps: int, nothing: bool
) -> None:
    row = HistoryRow("tune", 0, 1.0, {"train_loss": loss, "metric": metric})
    assert bool(learned_nothing(row, make_inputs().data, CLASSES, steps=steps)) == nothing


def test_a_trial_charges_no_epoch_for_it(make_inputs, tmp_path) -> None:
    params = CHANCE | {"target": 0.0}
    record = run_trial(make_inputs("chance"), TrialJob(Ask(3, params, 11), (tmp_path,)), lambda _: None)
    assert record.state == "complete"
    assert record.epochs == pytest.approx(2.0)  # of tuning
    assert record.reason.startswith("not recovered")
    assert record.provenance.items() >= UNRECOVERED.items()
    last = record.points[-1]
    assert last.kind == "recovered"
    same = next(point for point in curve(record) if point.masks.same(last.masks))
    assert np.array_equal(same.predictions, last.predictions)
    assert {row.phase for row in record.history} == {"tune"}
    goal = Goal("recovered", last.round, last.threshold, last.measurement.compression)
    again = repeat_trial(make_inputs("chance"), TrialJob(Ask(3, params, 12)), lambda _: None, goal=goal)
    assert again.epochs == pytest.approx(2.0)
    assert again.remark.startswith("not recovered")


def test_its_network_comes_back_bit_for_bit(tmp_path: Path) -> None:
    params: Params = SNIP | {"threshold": 1e-9, "batch_size": 32, "tune_epochs": 1.0, "recover_epochs": 0.5}
    made = make_study(tmp_path, params)
    assert made.record.provenance.items() >= UNRECOVERED.items()
    study = reopen(made.store, NAME)
    place = len(made.record.points) - 1
    for again in (False, True):
        network = network_of(study, 0, place)
        found = evaluate(network.model, study.inputs.data.validation, CLASSES)
        assert np.array_equal(found.predictions, made.record.points[place].predictions), again
        made.store.study(NAME).weights.keep_only([])
