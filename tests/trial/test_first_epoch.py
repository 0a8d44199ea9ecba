"""A dense network is measured after an epoch; a rate that is far behind is given up, others train as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.driver.search.dense_beside import _likely_first, _with_first_epochs
from pipeline.trial import first_epoch
from pipeline.trial.anchors import DenseJob, DenseRecipe, DenseRun, train_dense, train_dense_beside
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
    one_epoch = train_dense(inputs, 2e-3, recipe=replace(RECIPE, epochs=1.0))
    assert alone is not None
    assert beside is not None
    assert one_epoch is not None
    assert beside.metric == alone.metric
    for name, weights in alone.weights.items():
        np.testing.assert_array_equal(weights, beside.weights[name], err_msg=name)
    assert (alone.first_epoch, one_epoch.first_epoch) == (None, None)
    assert beside.first_epoch is not None


def test_a_rate_that_is_far_behind_is_given_up_after_an_epoch(
    make_inputs: Callable[..., TrialInputs], steps: list[Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs()
    constant = inputs.kind.constant(inputs.data.validation)
    monkeypatch.setattr(
        TrialInputs, "evaluate", lambda *_: type("E", (), {"metrics": {"metric": constant + 0.2}})()
    )
    best = constant + 0.2 / first_epoch.POOR
    assert train_dense_beside(inputs, DenseJob(2e-3, best + 0.01), recipe=RECIPE) is None
    assert steps[0].done == steps[0].phase.steps // 3
    assert train_dense_beside(inputs, DenseJob(2e-3, best - 0.01), recipe=RECIPE) is not None
    assert steps[1].done == steps[1].phase.steps


def test_the_middle_rate_is_first_and_the_others_know_of_it() -> None:
    assert _likely_first((1.0, 2.0, 4.0)) == [2.0, 1.0, 4.0]
    assert _likely_first((3.0,)) == [3.0]
    run = DenseRun(2.0, 0.8, 1, 1, 1, 1.0, 1.0, 0.0, 0.0, {}, first_epoch=0.6)
    assert _with_first_epochs(DenseJob(1.0), []) == DenseJob(1.0)
    assert _with_first_epochs(DenseJob(1.0), [None, run, replace(run, first_epoch=0.5)]) == DenseJob(1.0, 0.6)
