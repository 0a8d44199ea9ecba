"""Trials that set single weights to zero, and trials that rewind: zeros stay, interruption changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.model.source import build
from pipeline.model.surgery import cut
from pipeline.model.unstructured import matrices
from pipeline.study.records import Ask, Params, TrialRecord
from pipeline.study.store import RECOVERED, WEIGHTS, before_cut
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.kit.trials import (
    CHANCE,
    DEEPCUTS,
    MAGNITUDE,
    MOVEMENT,
    STEPS_PER_EPOCH,
    Interruptions,
    assert_same,
    curve,
    uninterrupted,
)

pytestmark = pytest.mark.usefixtures("on_the_cpu")


EVERY = {"magnitude": MAGNITUDE, "movement": MOVEMENT, "deepcuts": DEEPCUTS}
ROUNDS = {"magnitude": 1, "movement": 1, "deepcuts": 2}  # of interrupted trials


def run(inputs, folder: Path, params: Params) -> TrialRecord:
    return run_trial(inputs, TrialJob(Ask(3, params, 11), (folder,)), lambda _: None)


def zeros_in(folder: Path, name: str, inputs) -> dict[str, torch.Tensor]:
    """Where the matrices of kept weights are zero."""
    model, anatomy = build(inputs.source, seed=11)
    tensors = load_file(folder / WEIGHTS / f"{name}.safetensors")
    model.load_state_dict({key: value for key, value in tensors.items() if not key.startswith("score/")})
    return {key: weight.detach() == 0 for key, weight in matrices(anatomy).items()}


@pytest.mark.parametrize("method", sorted(EVERY))
def test_zeros_are_made_and_stay_and_no_network_is_smaller(make_inputs, tmp_path, method: str) -> None:
    inputs = make_inputs(method)
    record = run(inputs, tmp_path, EVERY[method])
    points = curve(record)
    sparsities = [point.measurement.sparsity for point in points]
    assert sparsities == sorted(set(sparsities))
    gradual = method != "deepcuts"  # its network has its zeros when the curve begins
    assert sparsities[0] == pytest.approx(0.7 if gradual else 0.0, abs=2e-3)
    assert sparsities[-1] == pytest.approx(0.95, abs=2e-3)
    found = record.recovered.measurement
    assert found.sparsity == pytest.approx(0.7, abs=2e-3)
    assert found.sparsity in sparsities
    for point in record.points:
        measured = point.measurement
        assert (measured.compression, measured.parameters) == (0.0, points[0].measurement.parameters)
        assert measured.nonzero_parameters == measured.parameters - round(measured.sparsity * 25_632)
    zeros = sum(int(mask.sum()) for mask in zeros_in(tmp_path, RECOVERED, inputs).values())
    assert zeros == round(found.sparsity * 25_632)


@pytest.fixture(scope="module")
def through(make_inputs, tmp_path_factory) -> dict[str, TrialRecord]:
    """The records of trials that are not interrupted."""
    trials = {method: (method, EVERY[method] | {"rounds": rounds}) for method, rounds in ROUNDS.items()}
    return uninterrupted(make_inputs, tmp_path_factory.mktemp("through"), trials)


# the boundaries of phases and a step within them; the others in the long tests
TELLING = {"movement": (1, 9, 12, 18), "magnitude": (6, 12), "deepcuts": (6, 7, 13)}
OTHERS = {"movement": (5, 13), "magnitude": (17,), "deepcuts": (11, 18)}


@pytest.mark.parametrize(
    ("method", "step"),
    [
        pytest.param(method, step, marks=marks)
        for stops, marks in ((TELLING, ()), (OTHERS, pytest.mark.long))
        for method, steps in stops.items()
        for step in steps
    ],
)
def test_a_trial_stopped_after_a_step_and_continued_gives_the_same_record(
    through, make_inputs, tmp_path, monkeypatch, method: str, step: int
) -> None:
    assert step <= 3 * STEPS_PER_EPOCH
    params = EVERY[method] | {"rounds": ROUNDS[method]}
    trial = Interruptions(make_inputs(method), params, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), through[method])


def test_zeros_of_a_round_are_zeros_of_the_next(make_inputs, tmp_path) -> None:
    inputs = make_inputs("deepcuts")
    run(inputs, tmp_path, DEEPCUTS | {"rounds": 2, "rewind": False})
    first, second = (zeros_in(tmp_path, name, inputs) for name in (before_cut(1), RECOVERED))
    for name, gone in first.items():
        assert gone.float().mean().item() == pytest.approx(0.35 * 25_632 / 24_576, abs=2e-3)
        assert (second[name] | ~gone).all()


@pytest.mark.parametrize("method", ["chance", "deepcuts"])
@pytest.mark.parametrize("rewind", [True, False])
def test_rewinding_goes_back_to_the_start_and_leaves_what_is_gone(
    make_inputs, tmp_path, monkeypatch, method: str, rewind: bool
) -> None:
    inputs = make_inputs(method)
    params = (DEEPCUTS if method == "deepcuts" else CHANCE) | {"rewind": rewind}
    monkeypatch.setattr(  # recovery with a rate of nothing: what comes out is what went in
        "pipeline.trial.training.update.schedule",
        lambda step, *, steps, warmup_fraction: 1.0 if steps == 2 * STEPS_PER_EPOCH else 0.0,
    )
    point = run(inputs, tmp_path, params).recovered
    network = load_file(tmp_path / WEIGHTS / f"{RECOVERED}.safetensors")
    start, anatomy = build(inputs.source, seed=11)
    cut(start, anatomy, point.masks)
    expected = start.state_dict()
    gone = 0
    for name in (
        "classifier.weight",
        *(name for name in network if "layer." in name and name.endswith("weight")),
    ):
        zero = (network[name] == 0) & (expected[name] != 0)
        gone += int(zero.sum())
        assert torch.equal(network[name], expected[name].masked_fill(zero, 0.0)) == rewind, name
    assert gone == (round(point.measurement.sparsity * 25_632) if method == "deepcuts" else 0)


def test_rewinding_with_no_recovery_is_the_cut_network(make_inputs, tmp_path) -> None:
    record = run(make_inputs("deepcuts"), tmp_path, DEEPCUTS | {"recover_epochs": 0.0})
    cut_point = min(curve(record), key=lambda point: abs(point.measurement.sparsity - 0.7))
    assert record.recovered.measurement == cut_point.measurement
    assert np.array_equal(record.recovered.predictions, cut_point.predictions)
