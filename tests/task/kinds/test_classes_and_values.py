"""Losses of classification and regression, and of their constant predictions: by hand, and as a minimum."""

import math

import numpy as np
import pytest
import torch

from tests.kit.kinds import CLASSES, VALUES, labelled


def test_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    loss = CLASSES.loss(logits, {"labels": torch.tensor([0, 1])})
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_squared_error_by_hand_with_labels_of_any_kind():
    logits = torch.tensor([[1.0], [3.0]])
    for labels in (torch.tensor([2.0, 1.0]), torch.tensor([2, 1]), torch.tensor([2.0, 1.0]).double()):
        assert VALUES.loss(logits, {"labels": labels}).item() == 2.5


def test_one_row_of_a_regression_is_not_squeezed_away():
    assert VALUES.loss(torch.tensor([[4.0]]), {"labels": torch.tensor([1.0])}).item() == 9.0


def test_the_loss_is_computed_in_full_precision_from_bf16_logits():
    logits = torch.tensor([[8.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = CLASSES.loss(logits, {"labels": torch.tensor([0])})
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-8)), rel=1e-4)
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_constant_loss_by_hand():
    assert CLASSES.constant_loss(labelled(np.array([0, 0, 0, 1]))) == pytest.approx(
        math.log(4) - 0.75 * math.log(3)
    )
    assert VALUES.constant_loss(labelled(np.array([1.0, 3.0], np.float32))) == 1.0
    assert (
        CLASSES.constant_loss(labelled(np.array([2, 2]))) == 0.0
    )  # classes that are never seen cost nothing


def test_no_constant_prediction_does_better():
    labels = np.random.default_rng(0).choice(4, size=200, p=[0.5, 0.3, 0.15, 0.05])
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = CLASSES.loss(logits.expand(200, 4), {"labels": torch.from_numpy(labels)})
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() == pytest.approx(CLASSES.constant_loss(labelled(labels)), rel=1e-5)
    values = np.random.default_rng(1).normal(3, 2, size=100).astype(np.float32)
    tried = [
        VALUES.loss(torch.full((100, 1), c), {"labels": torch.from_numpy(values)}).item()
        for c in np.linspace(2, 4, 2_001)
    ]
    assert min(tried) == pytest.approx(VALUES.constant_loss(labelled(values)), rel=1e-5)


def test_untrained_loss_is_that_of_outputs_of_zero():
    labels = np.array([0, 2, 2, 1])
    zeros = CLASSES.loss(torch.zeros(4, 3), {"labels": torch.from_numpy(labels)})
    assert CLASSES.untrained_loss(labelled(labels)) == pytest.approx(zeros.item())
    assert CLASSES.untrained_loss(labelled(labels % 2)) == pytest.approx(
        zeros.item()
    )  # no row has the last class
    values = np.array([100.0, 102.0], np.float32)
    zeros = VALUES.loss(torch.zeros(2, 1), {"labels": torch.from_numpy(values)})
    assert VALUES.untrained_loss(labelled(values)) == pytest.approx(zeros.item())


def test_soft_targets_by_hand():
    """T = 2: the teacher's logits 2 ln 3 and 0 become shares 3/4 and 1/4, the student's 0 and 0 become halves."""
    logits, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    by_hand = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    found = CLASSES.soft_loss(logits, teacher, {}, temperature=2.0)
    assert found.item() == pytest.approx(by_hand)
    twice = CLASSES.soft_loss(logits.repeat(2, 1), teacher.repeat(2, 1), {}, temperature=2.0)
    assert twice.item() == pytest.approx(by_hand)  # a mean over rows
    assert CLASSES.soft_loss(teacher, teacher, {}, temperature=2.0).item() == pytest.approx(0)


def test_soft_targets_gradient_is_the_closed_form():
    """d/ds = T (softmax(s/T) - softmax(t/T)) / B."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 5, 3, generator=generator)
    logits.requires_grad_()
    CLASSES.soft_loss(logits, teacher, {}, temperature=3.0).backward()
    closed = 3.0 * ((logits / 3).softmax(-1) - (teacher / 3).softmax(-1)) / 5
    torch.testing.assert_close(logits.grad, closed.detach())


def test_a_regressions_soft_target_is_the_squared_difference():
    found = VALUES.soft_loss(torch.tensor([[1.0], [4.0]]), torch.tensor([[2.0], [1.0]]), {}, temperature=9.0)
    assert found.item() == 5.0
