"""Trials tuned as one stack: each has the record that it has alone, whatever its method, settings and length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.model.anatomy import Anatomy
from pipeline.model.device import forms_of_a_gpu
from pipeline.study.records import TUNED, Ask, Params, Rung, TrialRecord
from pipeline.trial import checkpoint as checkpoints
from pipeline.trial import evaluation_batches
from pipeline.trial.conformance.counting import counted
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.run import TrialRun
from pipeline.trial.together import tune_together
from pipeline.trial.training import stream
from pipeline.trial.training.loop import Listener
from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.kit.trials import SHARED, SNIP

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks in float64: Adam makes steps of full size of gradients that are nothing but float32's rounding."""
    at_start = TrialRun._network_at_start

    def doubled(run: TrialRun) -> tuple[PreTrainedModel, Anatomy]:
        model, anatomy = at_start(run)
        return nn.Module.double(model), anatomy

    monkeypatch.setattr(TrialRun, "_network_at_start", doubled)
    for module in (stream, evaluation_batches):  # a CPU's attention reads a mask as of the network's type
        monkeypatch.setattr(module, "HALF", {"fp32": torch.float64})


NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# of one stack: other penalties, rates, decays and warm-ups, structures of the penalty, lengths and numbers of rounds
SNIPS: list[Params] = [
    SNIP,
    SNIP | {"penalty_strength": 3.0, "learning_rate": 1e-3, "level": "block", "spectral_bound": "off"},
    SNIP | {"norm": "mean_abs", "shape": "linear", "weight_decay": 0.1, "warmup_fraction": 0.5, "rounds": 2},
    SNIP | {"tune_epochs": 1.0, "reference": "none", "unit_weight": "uniform", "ffn_weight": 2.0},
]


def without_dropout(inputs: TrialInputs) -> TrialInputs:
    return replace(inputs, source=replace(inputs.source, config=inputs.source.config | NO_DROPOUT))


def job(folder: Path, number: int, params: Params, *attempts: str, rungs: tuple[float, ...] = ()) -> TrialJob:
    return TrialJob(
        Ask(number, params, 10 + number, rungs=rungs), tuple(folder / str(number) / each for each in attempts)
    )


def together(inputs: TrialInputs, settings: list[Params], folder: Path) -> list[TrialRecord]:
    """Tuned as one stack, then each by itself."""
    jobs = [job(folder, number, params, "a") for number, params in enumerate(settings)]
    heard: list[int] = []
    with forms_of_a_gpu():
        reason = tune_together(inputs, jobs, lambda number, _: heard.append(number))
        assert reason == ""
        assert set(heard) == set(range(len(settings)))
        for number in range(len(settings)):
            assert checkpoints.load([folder / str(number) / "a"]) is not None
        return [
            run_trial(inputs, job(folder, number, params, "a", "b"), lambda _: None)
            for number, params in enumerate(settings)
        ]


def alone(inputs: TrialInputs, settings: list[Params], folder: Path) -> list[TrialRecord]:
    with forms_of_a_gpu():
        return [
            run_trial(inputs, job(folder, number, params, "alone"), lambda _: None)
            for number, params in enumerate(settings)
        ]


def assert_alike(one: TrialRecord, other: TrialRecord) -> None:
    assert [(p.kind, p.round) for p in one.points] == [(p.kind, p.round) for p in other.points]
    for point, same in zip(one.points, other.points, strict=True):
        assert point.masks.same(same.masks)
        assert point.measurement.metric == pytest.approx(same.measurement.metric, abs=1e-6)
        assert point.threshold == pytest.approx(same.threshold, rel=1e-3)
    assert len(one.history) == len(other.history)
    for row, same_row in zip(one.history, other.history, strict=True):
        assert (row.phase, row.round, row.epoch) == (same_row.phase, same_row.round, same_row.epoch)
        assert row.values == pytest.approx(same_row.values, rel=2e-3, abs=1e-5)


@pytest.mark.parametrize("regression", [False, True])
def test_trials_of_snip_have_the_records_that_they_have_alone(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path, regression: bool
) -> None:
    inputs = without_dropout(make_inputs("snip", regression=regression))
    found, expected = together(inputs, SNIPS, tmp_path), alone(inputs, SNIPS, tmp_path)
    for one, other in zip(found, expected, strict=True):
        assert_alike(one, other)
        assert one.provenance["stacked_trials"] == "4"
        assert "stacked_trials" not in other.provenance
    losses = {record.history[0].values["train_loss"] for record in found}
    assert len(losses) == len(SNIPS)  # they are different trials


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("method", ["first-order", "magnitude", "platon-lifted", "mgpp", "chance"])
def test_so_have_those_of_methods_that_only_look_or_act_around_the_optimizer(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path, method: str
) -> None:
    inputs = without_dropout(make_inputs(method))
    settings = [
        subject.defaults(method) | SHARED | {"target": target, "learning_rate": rate, "recover_epochs": 0.0}
        for target, rate in ((0.5, 2e-3), (0.7, 1e-3))
    ]  # a recovery is no part of the stack: that of SNIP's trials, above, goes on from it
    for one, other in zip(
        together(inputs, settings, tmp_path), alone(inputs, settings, tmp_path), strict=True
    ):
        assert_alike(one, other)


def test_rungs_are_shown_as_those_of_a_single_trial(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    inputs = without_dropout(make_inputs("snip"))
    shown: dict[int, list[Rung]] = {0: [], 1: []}
    jobs = [job(tmp_path, number, SNIPS[number], "a", rungs=(0.25, 0.5, 0.8)) for number in shown]
    with forms_of_a_gpu():
        reason = tune_together(inputs, jobs, lambda *_: None, lambda number, rung: shown[number].append(rung))
        assert reason == ""
        for number, rungs in shown.items():
            later: list[Rung] = []
            whole = job(tmp_path, number, SNIPS[number], "a", "b", rungs=(0.25, 0.5, 0.8))
            record = run_trial(inputs, whole, lambda _: None, later.append)
            expected: list[Rung] = []
            again = job(tmp_path, number, SNIPS[number], "alone", rungs=(0.25, 0.5, 0.8))
            run_trial(inputs, again, lambda _: None, expected.append)
            assert [rung.index for rung in rungs + later] == [rung.index for rung in expected]
            # the curve at the end of a tuning that is trained on from is shown, too, and is no rung of the record
            later, expected = ([rung for rung in each if rung.index != TUNED] for each in (later, expected))
            assert len(rungs) == 2
            assert len(expected) == (
                3 if number == 0 else 2
            )  # the third comes after the cut, where there is one
            assert record.rungs == (*rungs, *later)
            for one, other in zip(record.rungs, expected, strict=True):
                assert one.epoch == other.epoch
                assert one.metric == pytest.approx(other.metric, abs=1e-6)


def test_one_that_fails_leaves_no_checkpoint_and_the_others_alone(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    inputs = without_dropout(make_inputs("snip", regression=True))
    settings = [SNIP, SNIP | {"learning_rate": 1e6}, SNIPS[3]]
    jobs = [job(tmp_path, number, params, "a") for number, params in enumerate(settings)]
    with forms_of_a_gpu():
        assert tune_together(inputs, jobs, lambda *_: None) == ""
        left = [checkpoints.load([tmp_path / str(number) / "a"]) for number in range(3)]
        assert [each is not None for each in left] == [True, False, True]
        failed = run_trial(inputs, job(tmp_path, 1, settings[1], "a", "b"), lambda _: None)
        assert failed.state == "failed"
        found = run_trial(inputs, job(tmp_path, 0, SNIP, "a", "b"), lambda _: None)
    assert_alike(found, alone(inputs, [SNIP], tmp_path)[0])


def test_a_method_whose_hooks_change_what_passes_is_not_stacked(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    jobs = [
        job(tmp_path, number, subject.defaults("l0") | SHARED | {"target": 0.5}, "a") for number in (0, 1)
    ]
    with forms_of_a_gpu():
        reason = tune_together(make_inputs("l0"), jobs, lambda *_: None)
    assert reason.startswith("the method, or what is learned beside the labels")
    assert not list(tmp_path.rglob("checkpoint-*"))


def test_trials_of_other_batch_sizes_are_left_out(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    sizes = (4, 8, 4)
    jobs = [job(tmp_path, number, SNIP | {"batch_size": size}, "a") for number, size in enumerate(sizes)]
    with forms_of_a_gpu():
        assert tune_together(make_inputs("snip"), jobs, lambda *_: None) == ""
        assert tune_together(make_inputs("snip"), jobs[:2], lambda *_: None).startswith(
            "there are no two trials"
        )
    assert [bool(list((tmp_path / str(number)).rglob("checkpoint-*"))) for number in range(3)] == [
        True,
        False,
        True,
    ]


def test_eight_trials_launch_less_than_a_third_each_of_what_one_does(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    inputs = make_inputs("snip", precision="bf16")
    params = SNIP | {"spectral_bound": "off", "level": "block", "reference": "none"}
    jobs = [job(tmp_path, number, params, "a") for number in range(8)]
    with counted() as one:
        run = TrialRun(inputs, jobs[0])
        run.train(run.phases[0], Listener())
    with counted() as eight:
        assert tune_together(inputs, jobs, lambda *_: None) == ""
    assert eight.kernels / 8 < one.kernels / 2
