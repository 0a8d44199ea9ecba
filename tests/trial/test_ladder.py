"""A recovery as a ladder: cut a little, train, measure, rank anew, cut on."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.export.network import network_of
from pipeline.export.reopen import reopen
from pipeline.study.records import Ask, Params, TrialRecord
from pipeline.study.store import RECOVERED
from pipeline.trial.curve.ladder import next_on_ladder
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import evaluate
from pipeline.trial.replay import Goal, repeat_trial
from tests.kit.kinds import CLASSES
from tests.kit.onetrial import NAME, make_study
from tests.kit.trials import (
    CHANCE,
    MAGNITUDE,
    SNIP,
    STEPS_PER_EPOCH,
    Interruptions,
    assert_same,
    curve,
    uninterrupted,
)

pytestmark = pytest.mark.usefixtures("on_the_cpu")

CLIMB: Params = {"recover": "ladder", "ladder_steps": 3, "ladder_end": 0.9, "reconstruct": True}
LADDER: Params = CHANCE | CLIMB
WEIGHTS: Params = MAGNITUDE | CLIMB


@pytest.fixture(scope="module")
def through(make_inputs, tmp_path_factory) -> dict[str, TrialRecord]:
    """The records of ladders that nobody interrupted."""
    trials = {"chance": ("chance", LADDER), "magnitude": ("magnitude", WEIGHTS)}
    return uninterrupted(make_inputs, tmp_path_factory.mktemp("ladders"), trials)


def test_each_step_removes_the_same_share_of_what_is_left_by_hand() -> None:
    assert next_on_ladder(0.0, end=0.875, left=3) == pytest.approx(0.5)
    assert next_on_ladder(0.5, end=0.875, left=2) == pytest.approx(0.75)
    assert next_on_ladder(0.75, end=0.875, left=1) == pytest.approx(0.875)
    assert next_on_ladder(0.9, end=0.875, left=1) == 0.875  # it has gone too far already: nothing is removed


def test_the_trials_own_target_is_a_step_in_place_of_the_nearest_one() -> None:
    assert next_on_ladder(0.0, end=0.875, left=3, include=0.6) == 0.6  # nearer to 0.5 than to 0.75
    assert next_on_ladder(0.0, end=0.875, left=3, include=0.7) == pytest.approx(0.5)
    assert next_on_ladder(0.5, end=0.875, left=2, include=0.7) == 0.7
    assert next_on_ladder(0.7, end=0.925, left=1, include=0.7) == pytest.approx(0.925)  # it was there


def test_a_ladder_recovers_networks_of_all_sizes(through) -> None:
    record = through["chance"]
    climbed = [point for point in record.points if point.kind == "recovered"]
    assert [point.round for point in climbed] == [1, 2, 3]
    compressions = [point.measurement.compression for point in climbed]
    assert compressions == sorted(compressions)
    assert compressions[-1] == pytest.approx(0.9, abs=0.04)  # a head is 4 % of this encoder
    assert all(b.masks <= a.masks for a, b in pairwise(climbed))
    assert curve(record, 0)  # the whole curve before the first cut
    assert {point.round for point in record.points if point.kind == "curve"} == {0}
    assert record.epochs == pytest.approx(3.0)  # two of tuning, one for all networks of the ladder
    assert {(row.phase, row.round) for row in record.history} >= {("recover", 1), ("recover", 3)}


def test_the_trials_outcome_is_the_network_at_its_target(through) -> None:
    record = through["chance"]
    assert record.recovered is not None
    assert record.recovered.measurement.compression == pytest.approx(0.6, abs=0.04)
    assert record.recovered.round == 1


@pytest.mark.parametrize(  # before the ladder, after its first network, within a later one, and at the end
    "step",
    [12, pytest.param(13, marks=pytest.mark.long), 14, pytest.param(16, marks=pytest.mark.long), 17, 18],
)
def test_a_ladder_stopped_after_any_step_and_continued_gives_the_same_record(
    through, make_inputs, tmp_path, monkeypatch, step: int
) -> None:
    assert step > 2 * STEPS_PER_EPOCH - 1
    trial = Interruptions(make_inputs("chance"), LADDER, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), through["chance"])


def test_single_weights_climb_too(through, make_inputs, tmp_path, monkeypatch) -> None:
    record = through["magnitude"]
    climbed = [point for point in record.points if point.kind == "recovered"]
    assert [round(point.measurement.sparsity, 2) for point in climbed][-1] == pytest.approx(0.9, abs=0.02)
    assert climbed[0].measurement.sparsity < climbed[1].measurement.sparsity
    trial = Interruptions(make_inputs("magnitude"), WEIGHTS, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=15)
    assert_same(trial.start(), record)


def test_a_network_of_the_ladder_is_reached_again_on_a_fresh_seed(through, make_inputs) -> None:
    point = next(p for p in through["chance"].points if p.kind == "recovered" and p.round == 2)
    goal = Goal("recovered", 2, point.threshold, point.measurement.compression)
    job = TrialJob(Ask(3, LADDER, 11), checkpoint_s=1e9, keep_weights=False)
    found = repeat_trial(make_inputs("chance"), job, lambda _: None, goal=goal)
    assert found.anatomy.present.same(point.masks)  # the same seed: the very same network
    assert found.epochs == pytest.approx(2 + 2 / 3, abs=0.01)


@pytest.mark.parametrize(
    ("method", "params"), [("snip", SNIP | CLIMB | {"rank_by": "obs"}), ("magnitude", WEIGHTS)]
)
def test_every_network_comes_back_bit_for_bit(tmp_path: Path, method: str, params: Params) -> None:
    params = {key: value for key, value in params.items() if key != "threshold"}
    params |= {"batch_size": 32, "recover_epochs": 0.75, "target": 0.5}
    made = make_study(tmp_path, params, method=method)
    study = reopen(made.store, NAME)
    kept = {path: path.read_bytes() for path in made.store.root.glob("studies/*/trials/*/weights/*")}
    assert len(kept) == 4
    assert not any(path.stem == RECOVERED for path in kept)
    for again in (False, True):  # from what is kept; then trained again
        for place, point in enumerate(made.record.points):
            if point.kind == "curve" and place % 3:
                continue
            network = network_of(study, 0, place)
            assert network.anatomy.present.same(point.masks)
            found = evaluate(network.model, study.inputs.data.validation, CLASSES)
            assert np.array_equal(found.predictions, point.predictions), (again, place)
        if not again:
            made.store.study(NAME).weights.keep_only([])
    assert all(path.read_bytes() == content for path, content in kept.items())
