"""The task's loss and the constant prediction's: by hand, and as a minimum over constants."""

import math

import numpy as np
import pytest
import torch

from pipeline.losses import constant_loss, task_loss, untrained_loss


def test_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    loss = task_loss(logits, torch.tensor([0, 1]), regression=False)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_squared_error_by_hand_with_labels_of_any_kind():
    logits = torch.tensor([[1.0], [3.0]])
    for labels in (torch.tensor([2.0, 1.0]), torch.tensor([2, 1]), torch.tensor([2.0, 1.0]).double()):
        assert task_loss(logits, labels, regression=True).item() == 2.5


def test_one_row_of_a_regression_is_not_squeezed_away():
    assert task_loss(torch.tensor([[4.0]]), torch.tensor([1.0]), regression=True).item() == 9.0


def test_the_loss_is_computed_in_full_precision_from_bf16_logits():
    logits = torch.tensor([[8.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = task_loss(logits, torch.tensor([0]), regression=False)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-8)), rel=1e-4)
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_constant_loss_by_hand():
    assert constant_loss(np.array([0, 0, 0, 1]), regression=False) == pytest.approx(
        math.log(4) - 0.75 * math.log(3)
    )
    assert constant_loss(np.array([1.0, 3.0], np.float32), regression=True) == 1.0
    assert (
        constant_loss(np.array([2, 2]), regression=False) == 0.0
    )  # classes that are never seen cost nothing


def test_no_constant_prediction_does_better():
    labels = np.random.default_rng(0).choice(4, size=200, p=[0.5, 0.3, 0.15, 0.05])
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task_loss(logits.expand(200, 4), torch.from_numpy(labels), regression=False)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() == pytest.approx(constant_loss(labels, regression=False), rel=1e-5)
    values = np.random.default_rng(1).normal(3, 2, size=100).astype(np.float32)
    tried = [
        task_loss(torch.full((100, 1), c), torch.from_numpy(values), regression=True).item()
        for c in np.linspace(2, 4, 2_001)
    ]
    assert min(tried) == pytest.approx(constant_loss(values, regression=True), rel=1e-5)


def test_untrained_loss_is_that_of_outputs_of_zero():
    labels = np.array([0, 2, 2, 1])
    zeros = task_loss(torch.zeros(4, 3), torch.from_numpy(labels), regression=False)
    assert untrained_loss(labels, regression=False) == pytest.approx(zeros.item())
    values = np.array([100.0, 102.0], np.float32)
    zeros = task_loss(torch.zeros(2, 1), torch.from_numpy(values), regression=True)
    assert untrained_loss(values, regression=True) == pytest.approx(zeros.item())
