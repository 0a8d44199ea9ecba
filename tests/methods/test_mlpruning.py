"""MLPruning's head and row level: ranks, regulariser and straight-through gradients by hand."""

import pytest
import torch

from pipeline.methods.mlpruning import MLPruning, excess, groups_of, rank_from_top, strength
from tests.kit.gated import moment_of, step, watched


def mlpruning(**changes) -> MLPruning:
    fields = {
        "level": "neuron",
        "final_penalty": 2e4,
        "score_learning_rate": 0.01,
        "share_learning_rate": 0.1,
        "initial_share": 10.0,
    }
    return MLPruning(**(fields | changes))


def test_ranks_within_groups_by_hand():
    scores = torch.tensor([3.0, 1.0, 2.0, 5.0, 9.0, 7.0])
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    there = torch.ones(6, dtype=torch.bool)
    assert rank_from_top(scores, groups, there, count=2).tolist() == pytest.approx(
        [0, 2 / 3, 1 / 3, 2 / 3, 0, 1 / 3]
    )
    there[4] = False  # the best is gone: the others are ranked among two
    assert rank_from_top(scores, groups, there, count=2)[[3, 5]].tolist() == pytest.approx([1 / 2, 0])


def test_the_regulariser_by_hand():
    assert excess(torch.tensor(0.9), target=0.5).item() == pytest.approx(0.16)
    assert excess(torch.tensor(0.4), target=0.5).item() == 0.0
    at = lambda r: strength(torch.tensor(r), target=0.5, final_penalty=2e4).item()  # noqa: E731
    assert at(0.25) == pytest.approx(2e4)
    assert at(0.01) == pytest.approx(2e4 * 0.01 / 0.25)
    assert at(3.1e-4) == 50.0
    assert at(2.9e-4) == 10.0


def test_groups_are_layers_of_each_kind(make_model):
    _, anatomy = make_model()
    groups = groups_of(moment_of(anatomy, "neuron").units)
    assert groups[:12].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert groups[12:].tolist() == [3] * 64 + [4] * 64 + [5] * 64


def test_masks_keep_the_learned_share_and_gradients_go_straight_through(make_model):
    _, anatomy = make_model()
    method, moment = mlpruning(), moment_of(anatomy, "neuron")
    scores = torch.randn(204, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shares = torch.tensor([0.5, 0.3, 1e-6, 0.25, 0.999, 0.5])
    theta = torch.logit(shares).requires_grad_()
    gates = method.gates({"scores": scores, "theta": theta}, moment, training=True)
    by_group = [gates[groups_of(moment.units) == group].sum().item() for group in range(6)]
    assert by_group == [2, 2, 1, 16, 64, 32]  # ceil(k n), one at least
    best = scores[4:8].argsort(descending=True)[:2]
    assert torch.nonzero(gates[4:8]).squeeze(1).tolist() == sorted(best.tolist())
    pull = torch.arange(204.0)
    to_scores, to_theta = torch.autograd.grad((gates * pull).sum(), [scores, theta])
    assert torch.equal(to_scores, pull)
    kept = gates.detach() * pull
    assert to_theta.tolist() == pytest.approx(
        [kept[groups_of(moment.units) == g].sum().item() for g in range(6)]
    )


def test_the_penalty_draws_what_remains_to_the_target(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = mlpruning(initial_share=3.0, share_learning_rate=1e-3)
    with watched(method, model, anatomy, target=0.5) as optimizer:
        first = method.penalty(batch).item()
        heads_and_neurons = (12 * 1_048 + 192 * 65) / 25_632
        share = torch.sigmoid(torch.tensor(3.0)).item()
        over = (1 - heads_and_neurons + share * heads_and_neurons - 0.5) ** 2
        assert first == pytest.approx(2e4 * over / 0.25 * over, rel=1e-4)
        for _ in range(40):
            step(method, model, batch, optimizer)
        assert method.penalty(batch).item() < first / 4


def test_scores_above_0_are_the_learned_masks(make_model):
    _, anatomy = make_model()
    method, moment = mlpruning(), moment_of(anatomy, "neuron")
    values = {
        "scores": torch.randn(204, generator=torch.Generator().manual_seed(1)),
        "theta": torch.linspace(-2, 2, 6),
    }
    gates = method.gates(values, moment, training=False)
    assert torch.equal(method.unit_scores(values, moment.units) > 0, gates == 1)
