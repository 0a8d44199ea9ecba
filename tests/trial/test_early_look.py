"""A dense network is measured early; a rate that is far behind is given up, others train as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.driver.search.dense_beside import _likely_first, _with_early_metrics
from pipeline.model.source import build
from pipeline.trial import early_look
from pipeline.trial.anchors import DenseJob, DenseRecipe, DenseRun, train_dense, train_dense_beside
from pipeline.trial.early_look import EarlyLook, PoorRate
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.training.loop import Loop

RECIPE = DenseRecipe((2e-3,), epochs=3.0, batch_size=4, warmup_fraction=0.1, weight_decay=0.01)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Loop]:
    """The loops that were begun."""
    begun: list[Loop] = []
    fit = Loop.fit

    def noted(self: Loop, *arguments: object) -> None:
        begun.append(self)
        fit(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Loop, "fit", noted)
    return begun


def test_measuring_changes_nothing(make_inputs: Callable[..., TrialInputs]) -> None:
    inputs = make_inputs()
    alone = train_dense(inputs, 2e-3, recipe=RECIPE)
    beside = train_dense_beside(inputs, DenseJob(2e-3), recipe=RECIPE)
    assert alone is not None
    assert beside is not None
    assert beside.metric == alone.metric
    for name, weights in alone.weights.items():
        np.testing.assert_array_equal(weights, beside.weights[name], err_msg=name)
    assert alone.early_metric is None


def test_a_rate_that_is_far_behind_is_given_up_at_its_early_look(
    make_inputs: Callable[..., TrialInputs], steps: list[Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs()
    constant = inputs.kind.constant(inputs.data.validation)
    monkeypatch.setattr(
        TrialInputs, "evaluate", lambda *_: type("E", (), {"metrics": {"metric": constant + 0.2}})()
    )
    best = constant + 0.2 / early_look.POOR
    assert train_dense_beside(inputs, DenseJob(2e-3, best + 0.01), recipe=RECIPE) is None
    assert steps[0].done == steps[0].phase.steps // 3
    assert train_dense_beside(inputs, DenseJob(2e-3, best - 0.01), recipe=RECIPE) is not None
    assert steps[1].done == steps[1].phase.steps


@pytest.mark.parametrize(("epochs", "at"), [(0.5, 1), (3.0, 1), (6.0, 1), (9.9, 1), (10.0, 2), (30.0, 6)])
def test_the_look_is_after_a_fifth_of_the_epochs(
    make_inputs: Callable[..., TrialInputs], epochs: float, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs()
    model, _ = build(inputs.source, seed=0)
    constant = inputs.kind.constant(inputs.data.validation)
    monkeypatch.setattr(
        TrialInputs, "evaluate", lambda *_: type("E", (), {"metrics": {"metric": constant + 0.2}})()
    )
    look = EarlyLook(inputs, constant + 0.1, model, epochs=epochs)
    for epoch in range(1, at):
        look.on_epoch(epoch, {})
        assert look.metric is None
    look.on_epoch(at, {})
    assert look.metric == constant + 0.2
    # it had gained 0.2: that is half of 0.4, and less than half of 0.41
    assert look.comparable(constant + 0.399) == constant + 0.2
    assert look.comparable(constant + 0.41) is None
    with pytest.raises(PoorRate):
        EarlyLook(inputs, constant + 0.3, model, epochs=epochs).on_epoch(at, {})


def test_a_network_that_has_learned_nothing_says_nothing_of_others(
    make_inputs: Callable[..., TrialInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends 0.1 below a constant prediction, and was 0.04 below early: a rate that is 0.035 below then is better."""
    inputs = make_inputs()
    model, _ = build(inputs.source, seed=0)
    constant = inputs.kind.constant(inputs.data.validation)
    for metric in (constant - 0.04, constant):
        monkeypatch.setattr(
            TrialInputs,
            "evaluate",
            lambda *_, metric=metric: type("E", (), {"metrics": {"metric": metric}})(),
        )
        look = EarlyLook(inputs, None, model, epochs=3.0)
        look.on_epoch(1, {})
        assert look.comparable(constant - 0.1) is None


def test_the_middle_rate_is_first_and_the_others_know_of_it() -> None:
    assert _likely_first((1.0, 2.0, 4.0)) == [2.0, 1.0, 4.0]
    assert _likely_first((3.0,)) == [3.0]
    run = DenseRun(2.0, 0.8, 1, 1, 1, 1.0, 1.0, 0.0, 0.0, {}, early_metric=0.6)
    assert _with_early_metrics(DenseJob(1.0), []) == DenseJob(1.0)
    assert _with_early_metrics(DenseJob(1.0), [None, run, replace(run, early_metric=0.5)]) == DenseJob(
        1.0, 0.6
    )


def test_a_metric_that_is_no_number_is_poor_and_no_measure_for_others(
    make_inputs: Callable[..., TrialInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs()
    found = type("E", (), {"metrics": {"metric": float("nan")}})()
    monkeypatch.setattr(TrialInputs, "evaluate", lambda *_: found)
    first, second = (EarlyLook(inputs, best, None, epochs=3.0) for best in (None, 0.9))  # type: ignore[arg-type]
    first.on_epoch(1.0, {})
    assert first.comparable(0.9) is None
    with pytest.raises(PoorRate):
        second.on_epoch(1.0, {})
