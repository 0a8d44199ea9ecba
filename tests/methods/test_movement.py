"""Movement of single weights, hard and soft: S against -rate Σ ∂L/∂W' W, masks by hand, what a mask hides."""

import pytest
import torch

from pipeline.methods.movement import Movement
from pipeline.methods.soft_movement import SoftMovement, _MeanSigmoid, soft_masks
from pipeline.model.unstructured import matrices
from pipeline.task.batches import encoder_inputs
from tests.kit.gated import run_of, step, watched

HARD = {"score_learning_rate": 0.1, "start_fraction": 0.0, "end_fraction": 0.5}
SOFT = HARD | {"penalty_strength": 4.0}


def plain(model, batch, make_model) -> dict[str, torch.Tensor]:
    """∂L/∂W' of every matrix, of a copy that nobody watches."""
    state = model.state_dict()
    model, anatomy = make_model()
    model.load_state_dict(state)
    weights = matrices(anatomy)
    loss = torch.nn.functional.cross_entropy(model(**encoder_inputs(batch)).logits, batch["labels"])
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def test_scores_follow_gradient_times_weight_also_where_it_is_hidden(make_model, make_batch):
    """Two steps: in the first everything is there, in the second half is masked and W is what the mask hides."""
    model, anatomy = make_model()
    batch, weights = make_batch(), matrices(anatomy)
    whole = {name: weight.detach().clone() for name, weight in weights.items()}
    method = Movement(**HARD)
    expected = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with watched(
        method, model, anatomy, steps=4, target=0.5
    ) as optimizer:  # SGD that leaves the weights alone
        for _ in range(2):
            for name, gradient in plain(model, batch, make_model).items():
                expected[name] -= 0.1 * gradient * whole[name]
            step(method, model, batch, optimizer)
        for name, score in method._scores.items():
            torch.testing.assert_close(score.detach(), expected[name], rtol=1e-4, atol=1e-7)
        for name, weight in weights.items():  # the highest half of each matrix
            order = expected[name].flatten().argsort()
            gone = (weight.detach().flatten() == 0).nonzero().squeeze(1)
            share = 12_816 / 24_576  # of the matrices, for half of the encoder
            assert abs(len(gone) - share * len(order)) <= 1
            assert set(gone.tolist()) == set(order[: len(gone)].tolist())
            torch.testing.assert_close(weight.detach() + method._hidden[name], whole[name])


def test_masked_weights_have_no_gradient_and_come_back_as_they_were(make_model, make_batch):
    model, anatomy = make_model()
    batch, weights = make_batch(), matrices(anatomy)
    whole = {name: weight.detach().clone() for name, weight in weights.items()}
    method = Movement(**HARD)
    seen: dict[str, torch.Tensor] = {}
    with watched(method, model, anatomy, steps=4, target=0.5, lr=0.0) as optimizer:
        step(method, model, batch, optimizer)
        masks = {name: mask.bool() for name, mask in method._masks.items()}
        assert not all(mask.all() for mask in masks.values())
        optimizer.register_step_post_hook(
            lambda *_: seen.update({name: weight.grad.clone() for name, weight in weights.items()})
        )
        step(method, model, batch, optimizer)
        for name, mask in masks.items():
            assert (seen[name][~mask] == 0).all()
            assert (seen[name][mask] != 0).any()
        with torch.no_grad():  # every score that was low is now the highest: the weights are there again
            for score in method._scores.values():
                score.neg_()
        step(method, model, batch, optimizer)
    for name, weight in weights.items():
        there = weight.detach() != 0
        torch.testing.assert_close(weight.detach()[there], whole[name][there])


def test_movement_ranks_within_each_matrix(make_model):
    _, anatomy = make_model()
    method = Movement(**HARD)
    scores = {"0.query": torch.tensor([[-3.0, 9.0]]), "0.key": torch.tensor([[1e-6, -1e-6]])}
    assert {n: v.tolist() for n, v in method.ranked(scores).items()} == {
        "0.query": [[0.5, 1.0]],
        "0.key": [[1.0, 0.5]],
    }
    with pytest.raises(ValueError, match="target sparsity"):
        method.masks(scores, anatomy, run_of(target=None, threshold=0.1), 1.0)


def test_soft_masks_by_hand_and_the_least_that_stays():
    scores = {
        "a": torch.tensor([[0.0, -2.0, -3.0]]),  # sigmoid 0.5, 0.119, 0.047
        "b": torch.linspace(-9.0, -5.0, 400).view(20, 20),  # all below: 0.5 % of 400 stay
    }
    masks = soft_masks(scores, threshold=0.1)
    assert masks["a"].tolist() == [[True, True, False]]
    assert masks["b"].flatten().nonzero().flatten().tolist() == [398, 399]


def test_the_mean_of_means_of_sigmoids_and_its_gradient():
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((3, 4), (5, 2), (1, 7))]
    plain = torch.stack([torch.sigmoid(each).mean() for each in scores]).mean()
    found = _MeanSigmoid.apply(*scores)
    torch.testing.assert_close(found, plain)
    for one, other in zip(*(torch.autograd.grad(3.0 * each, scores) for each in (found, plain)), strict=True):
        torch.testing.assert_close(one, other)


def test_the_soft_penalty_is_lambda_on_the_schedule_times_the_mean_of_means(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = SoftMovement(**(SOFT | {"end_fraction": 1.0, "score_learning_rate": 0.0}))
    run = {"steps": 2, "target": None, "threshold": 0.4}
    with watched(method, model, anatomy, **run) as optimizer:
        assert method.penalty(batch).item() == 0.0  # nothing is done yet
        step(method, model, batch, optimizer)
        # after one of two steps 1 - (1 - 1/2)^3 = 7/8 of λ; all scores are 0
        penalty = method.penalty(batch)
        assert penalty.item() == pytest.approx(4.0 * 7 / 8 * 0.5)
        penalty.backward()
        # λ_t / (18 matrices · 1024 weights) · sigmoid'(0)
        gradient = method._scores["0.query"].grad
        assert gradient.unique().tolist() == pytest.approx([4.0 * 7 / 8 / (18 * 1024) * 0.25])
        assert all(mask.all() for mask in method._masks.values())  # sigmoid(0) = 0.5 > 0.35
        with torch.no_grad():
            method._scores["0.query"][0] = -1.0  # sigmoid 0.269
        optimizer.zero_grad()
        step(method, model, batch, optimizer)
    assert (matrices(anatomy)["0.query"][0] == 0).all()
    assert (matrices(anatomy)["0.query"][1:] != 0).all()
    found = method.score(model, anatomy, [])
    assert found["0.query"][0, 0].item() == pytest.approx(0.2689, abs=1e-4)
