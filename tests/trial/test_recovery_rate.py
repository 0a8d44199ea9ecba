"""The learning rate of recovery: a factor on the trial's own, for every network that is trained after a cut."""

import numpy as np
import pytest

from pipeline.study.records import Ask, Params
from pipeline.trial.job import TrialJob
from pipeline.trial.run import TrialRun
from tests.kit.trials import CHANCE, SNIP, STEPS_PER_EPOCH, Interruptions, assert_same, curve, uninterrupted

pytestmark = pytest.mark.usefixtures("on_the_cpu")

SLOW: Params = {"recover_rate_factor": 0.25}
STILL: Params = {"recover_rate_factor": 0.0}
SHARED_WEIGHTS: Params = {"recover": "chain", "ladder_steps": 3, "ladder_end": 0.9}
LADDER: Params = (
    CHANCE | SLOW | {"recover": "ladder", "ladder_steps": 3, "ladder_end": 0.9, "reconstruct": True}
)


class Nobody:
    """Listens to nothing."""


@pytest.mark.parametrize("recover", ["point", "ladder", "chain"])
def test_phases_after_the_last_cut_have_the_factor_s_rate_by_hand(make_inputs, recover: str) -> None:
    params = CHANCE | SLOW | {"recover": recover, "ladder_steps": 3, "learning_rate": 2e-3}
    run = TrialRun(make_inputs("chance"), TrialJob(Ask(3, params, 11)))
    rates = [(phase.name, run.loop_of(phase, Nobody()).recipe.learning_rate) for phase in run.phases]
    assert dict(rates) == {"tune": 2e-3, "recover": pytest.approx(5e-4)}
    assert all(rate == pytest.approx(5e-4) for name, rate in rates if name == "recover")


def test_a_recovery_at_rate_zero_leaves_networks_as_they_were_cut(make_inputs, tmp_path) -> None:
    trials = {"point": ("chance", CHANCE | STILL), "chain": ("chance", CHANCE | STILL | SHARED_WEIGHTS)}
    records = uninterrupted(make_inputs, tmp_path, trials)
    for record in records.values():
        as_cut = {point.measurement.compression: point.predictions for point in curve(record)}
        recovered = [point for point in record.points if point.kind == "recovered"]
        assert recovered
        for point in recovered:
            assert np.array_equal(point.predictions, as_cut[point.measurement.compression])


def test_trials_of_earlier_studies_recover_at_their_own_rate(make_inputs, tmp_path) -> None:
    trials = {"before": ("snip", SNIP), "now": ("snip", SNIP | {"recover_rate_factor": 1.0})}
    records = uninterrupted(make_inputs, tmp_path, trials)
    known = {name: {**record.params, "recover_rate_factor": 1.0} for name, record in records.items()}
    assert known["before"] == known["now"]
    for one, other in zip(records["before"].points, records["now"].points, strict=True):
        assert np.array_equal(one.predictions, other.predictions)
    assert records["before"].history == records["now"].history


@pytest.mark.parametrize("step", [2 * STEPS_PER_EPOCH + 1, 2 * STEPS_PER_EPOCH + 4])
def test_a_slow_ladder_stopped_and_continued_gives_the_same_record(
    make_inputs, tmp_path, monkeypatch, step: int
) -> None:
    whole = uninterrupted(make_inputs, tmp_path / "whole", {"slow": ("chance", LADDER)})["slow"]
    trial = Interruptions(make_inputs("chance"), LADDER, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), whole)
