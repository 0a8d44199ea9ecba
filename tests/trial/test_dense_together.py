"""Dense networks at several learning rates as one stack: each is what it is alone, for the launches of one."""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch

from pipeline.model.device import forms_of_a_gpu
from pipeline.trial import anchors
from pipeline.trial.anchors import DenseRecipe, train_dense, train_dense_together
from pipeline.trial.conformance.counting import counted
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.training.stacked import StackedTraining

RATES = (1e-3, 2e-3, 4e-3)
RECIPE = DenseRecipe(RATES, epochs=2.0, batch_size=4, warmup_fraction=0.1, weight_decay=0.01)


@pytest.mark.parametrize("regression", [False, True])
def test_every_network_is_what_it_is_alone(make_inputs: Callable[..., TrialInputs], regression: bool) -> None:
    inputs = make_inputs(regression=regression)
    with forms_of_a_gpu(), patch.object(anchors, "train_dense", side_effect=AssertionError("one by one")):
        together = train_dense_together(inputs, RATES, recipe=RECIPE)
    with forms_of_a_gpu():
        alone = [train_dense(inputs, rate, recipe=RECIPE) for rate in RATES]
    for one, other, rate in zip(together, alone, RATES, strict=True):
        assert one is not None
        assert other is not None
        assert one.learning_rate == rate
        assert one.metric == pytest.approx(other.metric, abs=1e-3)
        assert one.weights.keys() == other.weights.keys()
        for name, weights in one.weights.items():
            np.testing.assert_allclose(weights, other.weights[name], rtol=1e-2, atol=5e-4, err_msg=name)
    assert not np.allclose(together[0].weights[name], together[2].weights[name])  # type: ignore[union-attr]


def test_one_that_diverges_leaves_the_others_alone(make_inputs: Callable[..., TrialInputs]) -> None:
    inputs = make_inputs(regression=True)
    with forms_of_a_gpu():
        well, diverged = train_dense_together(inputs, (1e-3, 1e6), recipe=RECIPE)
        alone = train_dense(inputs, 1e-3, recipe=RECIPE)
    assert diverged is None
    assert well is not None
    assert alone is not None
    assert well.metric == pytest.approx(alone.metric, abs=1e-3)


def test_where_a_stack_cannot_be_made_they_are_trained_one_by_one(
    make_inputs: Callable[..., TrialInputs],
) -> None:
    inputs = make_inputs()
    with patch.object(StackedTraining, "fit", side_effect=RuntimeError("vmap: no rule")):
        found = train_dense_together(inputs, RATES[:1], recipe=RECIPE)
    expected = train_dense(inputs, RATES[0], recipe=RECIPE)
    assert found[0] is not None
    assert expected is not None
    assert found[0].metric == expected.metric


def test_three_cost_hardly_more_launches_than_one(make_inputs: Callable[..., TrialInputs]) -> None:
    inputs = make_inputs(precision="bf16")
    kernels = []
    for rates in (RATES[:1], RATES):
        torch.manual_seed(0)
        with counted() as counts:
            train_dense_together(inputs, rates, recipe=RECIPE)
        kernels.append(counts.kernels)
    assert kernels[1] < 1.5 * kernels[0]
