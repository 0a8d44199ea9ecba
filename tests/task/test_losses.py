"""The task's loss and the constant prediction's: by hand, and as a minimum over constants."""

import math

import numpy as np
import pytest
import torch

from pipeline.task.losses import constant_loss, contrasts, soft_target_loss, task_loss, untrained_loss


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


def test_soft_targets_by_hand():
    """T = 2: the teacher's logits 2 ln 3 and 0 become shares 3/4 and 1/4, the student's 0 and 0 become halves."""
    logits, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    by_hand = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    found = soft_target_loss(logits, teacher, temperature=2.0, regression=False)
    assert found.item() == pytest.approx(by_hand)
    twice = soft_target_loss(logits.repeat(2, 1), teacher.repeat(2, 1), temperature=2.0, regression=False)
    assert twice.item() == pytest.approx(by_hand)  # a mean over rows
    assert soft_target_loss(teacher, teacher, temperature=2.0, regression=False).item() == pytest.approx(0)


def test_soft_targets_gradient_is_the_closed_form():
    """d/ds = T (softmax(s/T) - softmax(t/T)) / B."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 5, 3, generator=generator)
    logits.requires_grad_()
    soft_target_loss(logits, teacher, temperature=3.0, regression=False).backward()
    closed = 3.0 * ((logits / 3).softmax(-1) - (teacher / 3).softmax(-1)) / 5
    torch.testing.assert_close(logits.grad, closed.detach())


def test_a_regressions_soft_target_is_the_squared_difference():
    found = soft_target_loss(
        torch.tensor([[1.0], [4.0]]), torch.tensor([[2.0], [1.0]]), temperature=9.0, regression=True
    )
    assert found.item() == 5.0


def test_contrasts_by_hand():
    """One row at (1, 0), keys at (1, 0), (0, 1) and (-1, 0); τ = 1/2: shares of e², 1 and e⁻²."""
    features, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    same_row, same_class = [[True, False, False]], [[True, False, True]]
    found = contrasts(features, keys, torch.tensor([same_row, same_class]), temperature=0.5)
    total = math.log(math.exp(2) + 1 + math.exp(-2))
    assert found.tolist() == pytest.approx([total - 2, total - (2 - 2) / 2])


def test_contrasts_gradient_is_the_closed_form():
    """Of one row: (Σ_m share_m k_m - mean over positives of k_p) / τ; a mean over rows divides by B."""
    generator = torch.Generator().manual_seed(1)
    features = torch.nn.functional.normalize(torch.randn(4, 6, generator=generator), dim=-1).requires_grad_()
    keys = torch.nn.functional.normalize(torch.randn(9, 6, generator=generator), dim=-1)
    positives = torch.rand(4, 9, generator=generator) < 0.4
    positives[:, 0] = True
    contrasts(features, keys, positives[None], temperature=0.1).sum().backward()
    shares = (features.detach() @ keys.T / 0.1).softmax(-1)
    means = torch.stack([keys[row].mean(dim=0) for row in positives])
    torch.testing.assert_close(features.grad, (shares @ keys - means) / 0.1 / 4)
