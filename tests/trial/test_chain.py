"""A recovery of the whole chain: nested networks are trained together on shared weights, then all are measured."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.export.network import network_of
from pipeline.export.reopen import reopen
from pipeline.study.records import Ask, Params, TrialRecord
from pipeline.study.store import RECOVERED
from pipeline.trial.curve.chain import ONE, SANDWICH, SharedNetworks
from pipeline.trial.curve.ladder import trained_steps
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

TOGETHER: Params = {"recover": "chain", "ladder_steps": 3, "ladder_end": 0.9, "reconstruct": True}
CHAIN: Params = CHANCE | TOGETHER
RIDDEN: Params = CHAIN | {"chain_batch": SANDWICH, "rounds": 2}
WEIGHTS: Params = MAGNITUDE | TOGETHER


@pytest.fixture(scope="module")
def through(make_inputs, tmp_path_factory) -> dict[str, TrialRecord]:
    """The records of chains that nobody interrupted."""
    trials = {"one": ("chance", CHAIN), "sandwich": ("chance", RIDDEN), "weights": ("magnitude", WEIGHTS)}
    return uninterrupted(make_inputs, tmp_path_factory.mktemp("chains"), trials)


def test_each_trained_network_has_the_same_share_less_than_the_one_before_by_hand() -> None:
    compressions = [0.0, 0.3, 0.5, 0.6, 0.75, 0.8, 0.875, 1.0]
    assert trained_steps(compressions, count=3, end=0.875) == (2, 4, 6)  # halves
    assert trained_steps(compressions, count=1, end=0.875) == (6,)
    assert trained_steps([0.5, 0.6, 0.75, 0.9], count=1, end=0.75) == (2,)  # half of it was gone before
    assert trained_steps([0.0], count=3, end=0.9) == (0,)  # nothing can go: the network itself
    assert trained_steps([0.0, 0.9], count=3, end=0.95) == (1,)


def test_batches_draw_their_networks_by_their_place_alone() -> None:
    networks = tuple(object() for _ in range(5))
    one, three = (SharedNetworks(networks, which, seed=7) for which in (ONE, SANDWICH))  # type: ignore[arg-type]
    drawn = [one.at(place) for place in range(200)]
    assert [one.at(place) for place in range(200)] == drawn
    assert {len(each) for each in drawn} == {1}
    counts = [sum(each == [network] for each in drawn) for network in networks]
    assert min(counts) > 20  # 40 on average
    for place in range(50):
        largest, between, smallest = three.at(place)
        assert (largest, smallest) == (networks[0], networks[-1])
        assert between in networks[1:-1]


@pytest.mark.parametrize("name", ["one", "sandwich", "weights"])
def test_every_network_of_the_curve_and_the_chains_end_are_recovered(through, name: str) -> None:
    record = through[name]
    rounds = record.params["rounds"]
    recovered = [point for point in record.points if point.kind == "recovered"]
    before = curve(record, rounds - 1)
    assert {point.round for point in recovered} == {rounds}
    shares = [p.measurement.share for p in before]
    end = min(p.measurement.share for p in recovered if p.measurement.share >= 0.9 - 1e-9)
    assert end < 0.93  # a unit is at most 3 % of this network, or a weight of that
    as_before = [p for p in recovered if p.measurement.share in shares]
    assert len(recovered) == len(before) + (end not in shares)
    assert [p.threshold for p in as_before] == [p.threshold for p in before]
    assert all(a.masks.same(b.masks) for a, b in zip(as_before, before, strict=True))
    losses = {row.phase: row.values["validation_loss"] for row in record.history}
    assert losses["tune"] != losses["recover"]  # of the whole network, which was trained on
    assert all(b.masks <= a.masks for a, b in pairwise(recovered))
    assert record.epochs == pytest.approx(3.0)  # two of tuning, one for all networks of the chain
    assert {(row.phase, row.round) for row in record.history} >= {("recover", rounds)}
    assert record.recovered is not None
    assert record.recovered.measurement.share == pytest.approx(float(record.params["target"]), abs=0.05)


@pytest.mark.parametrize(
    "step", [12, pytest.param(13, marks=pytest.mark.long), 15, pytest.param(17, marks=pytest.mark.long), 18]
)
def test_a_chain_stopped_after_any_step_and_continued_gives_the_same_record(
    through, make_inputs, tmp_path, monkeypatch, step: int
) -> None:
    assert step > 2 * STEPS_PER_EPOCH - 1
    trial = Interruptions(make_inputs("chance"), CHAIN, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), through["one"])


@pytest.mark.parametrize(
    ("name", "method", "params"), [("sandwich", "chance", RIDDEN), ("weights", "magnitude", WEIGHTS)]
)
def test_other_chains_continue_too(
    through, make_inputs, tmp_path, monkeypatch, name: str, method: str, params: Params
) -> None:
    trial = Interruptions(make_inputs(method), params, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=15)
    assert_same(trial.start(), through[name])


@pytest.mark.parametrize("name", ["one", "sandwich"])
def test_a_network_of_the_chain_is_reached_again_on_a_fresh_seed(through, make_inputs, name: str) -> None:
    record = through[name]
    point = [p for p in record.points if p.kind == "recovered"][2]
    goal = Goal("recovered", point.round, point.threshold, point.measurement.compression)
    job = TrialJob(Ask(3, record.params, 11), checkpoint_s=1e9, keep_weights=False)
    inputs = make_inputs("chance")
    found = repeat_trial(inputs, job, lambda _: None, goal=goal)
    assert found.anatomy.present.same(point.masks)  # the same seed: the very same network
    predictions = inputs.evaluate(found.model).predictions
    assert np.array_equal(predictions, point.predictions)
    assert found.epochs == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("method", "params"), [("snip", SNIP | TOGETHER | {"rank_by": "obs"}), ("magnitude", WEIGHTS)]
)
def test_every_network_comes_back_bit_for_bit(tmp_path: Path, method: str, params: Params) -> None:
    params = {key: value for key, value in params.items() if key != "threshold"}
    params |= {"batch_size": 32, "recover_epochs": 0.75, "target": 0.5}
    made = make_study(tmp_path, params, method=method)
    study = reopen(made.store, NAME)
    kept = {path: path.read_bytes() for path in made.store.root.glob("studies/*/trials/*/weights/*")}
    assert len(kept) == 2  # before the chain, and after it
    assert not any(path.stem == RECOVERED for path in kept)
    for again in (False, True):  # from what is kept; then trained again
        for place, point in enumerate(made.record.points):
            if place % 3:
                continue
            network = network_of(study, 0, place)
            assert network.anatomy.present.same(point.masks)
            found = evaluate(network.model, study.inputs.data.validation, CLASSES)
            assert np.array_equal(found.predictions, point.predictions), (again, place)
        if not again:
            made.store.study(NAME).weights.keep_only([])
    assert all(path.read_bytes() == content for path, content in kept.items())
