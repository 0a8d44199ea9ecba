"""Single weights: sums lifted by hand, thresholds against sorting, what is counted, zeros that stay."""

import math

import numpy as np
import pytest
import torch

from pipeline.model.device import forms_of_a_gpu
from pipeline.model.surgery import cut
from pipeline.model.unstructured import (
    above_or_highest,
    ascending_values,
    count_to_remove,
    holding_zeros,
    lift,
    lowest,
    lowest_of_each,
    matrices,
    shares,
    zero,
)
from pipeline.task.batches import encoder_inputs


def test_six_matrices_of_every_layer(architecture, make_model):
    _, anatomy = make_model(architecture)
    found = matrices(anatomy)
    assert len(found) == 18
    assert sum(weight.numel() for weight in found.values()) == 3 * (4 * 32 * 32 + 2 * 32 * 64)
    assert found["1.ffn_in"] is anatomy.layers[1].ffn_in.weight


def test_a_unit_has_the_sum_of_its_weights(make_model):
    _, anatomy = make_model()
    ones = {name: torch.ones_like(weight) for name, weight in matrices(anatomy).items()}
    ones["2.value"][8:16] = 3.0  # head 1: 8 rows of 32 twos more
    ones["0.ffn_out"][:, 5] = 0.0  # neuron 5: a column of 32
    scores = lift(ones, anatomy)
    assert scores.heads[0].tolist() == [4 * 8 * 32] * 4
    assert scores.heads[2].tolist() == [1024, 1024 + 2 * 256, 1024, 1024]
    assert scores.neurons[0, 4:7].tolist() == [64, 32, 64]


def test_what_is_cut_has_no_score(make_model):
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[0] = masks.heads[1, :2] = masks.neurons[2] = masks.neurons[1, 3] = False
    anatomy = cut(model, anatomy, masks)
    found = matrices(anatomy)
    scores = lift({name: weight.abs() for name, weight in found.items()}, anatomy)
    assert np.array_equal(np.isnan(scores.heads), ~masks.heads)
    assert np.array_equal(np.isnan(scores.neurons), ~masks.neurons)
    by_hand = found["1.ffn_in"][2].abs().sum() + found["1.ffn_out"][:, 2].abs().sum()
    assert scores.neurons[1, 2] == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize("count", [0, 1, 7, 23, 24, 99])
def test_the_lowest_of_all_go(count: int):
    generator = torch.Generator().manual_seed(count)
    scores = {"a": torch.rand(3, 4, generator=generator), "b": torch.rand(2, 6, generator=generator)}
    kept = lowest(scores, count)
    everything = torch.cat([values.flatten() for values in scores.values()])
    expected = everything.argsort().argsort() >= count
    assert torch.equal(torch.cat([mask.flatten() for mask in kept.values()]), expected)


def test_what_is_cut_counts_as_gone(make_model):
    model, anatomy = make_model()
    assert count_to_remove(anatomy, 0.5) == 12_816  # of 25,632
    masks = anatomy.present
    masks.neurons[2] = False  # 64 · 65 + 32
    assert count_to_remove(cut(model, anatomy, masks), 0.5) == 12_816 - 4_192


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_each_matrix_loses_its_share_whatever_the_scales(share: float):
    generator = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(4, 5, generator=generator), "b": 100.0 + torch.rand(2, 4, generator=generator)}
    kept = lowest_of_each(scores, share)
    for name, values in scores.items():
        order = values.flatten().argsort()
        expected = torch.ones(values.numel(), dtype=torch.bool)
        expected[order[: round(share * values.numel())]] = False
        assert torch.equal(kept[name].flatten(), expected)


def test_of_equal_scores_exactly_the_number_goes():
    """Scores that all begin at 0 must not all go at once."""
    kept = lowest_of_each({"a": torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, -1.0]])}, 0.5)
    assert kept["a"].tolist() == [[False, False, True], [True, True, False]]


def test_shares_by_hand():
    found = shares({"a": torch.tensor([[0.3, -5.0], [7.0, 0.4]]), "b": torch.tensor([[1e9, 1e-9]])})
    assert found["a"].tolist() == [[0.5, 0.25], [1.0, 0.75]]
    assert found["b"].tolist() == [[1.0, 0.5]]
    assert found["a"].dtype == torch.float32


def test_a_matrix_of_a_million_has_a_million_ranks():
    ranks = shares({"a": torch.rand(1024, 1024, generator=torch.Generator().manual_seed(0))})["a"]
    assert len(ranks.unique()) == 1024 * 1024


def test_zeros_stay_through_moments_and_decay(make_model, make_batch):
    model, anatomy = make_model()
    batch, weights = make_batch(), matrices(anatomy)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)

    def step() -> None:
        model(**encoder_inputs(batch)).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # every weight has moments that would move it
    zero(weights, scores, 0.1)
    gone = {name: weight.detach() == 0 for name, weight in weights.items()}
    assert 0.1 < sum(mask.sum().item() for mask in gone.values()) / 25_632 < 0.9
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with holding_zeros(anatomy, optimizer):
        for _ in range(3):
            step()
    for name, weight in weights.items():
        assert torch.equal(weight.detach() == 0, gone[name])
        assert (weight.detach() != before[name])[~gone[name]].all()
    step()
    assert not torch.equal(weights["0.query"].detach() == 0, gone["0.query"])  # nothing is left behind


@pytest.mark.parametrize("tied", [False, True])
def test_a_gpus_form_finds_each_place_exactly(tied: bool):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(3, 97, generator=generator) * 10.0 ** torch.arange(-30, 3, 11).unsqueeze(1)
    if tied:
        values = values.sign() * 0.5
    values[0, :5], values[1, 7], values[1, 8] = 0.0, torch.inf, -torch.inf
    ordered = values.sort(dim=1).values
    for place in (1, 2, 48, 96, 97):
        found = ascending_values(values, torch.full((3,), place))
        torch.testing.assert_close(found, ordered[:, place - 1], rtol=0, atol=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("equal", [False, True])
def test_a_gpus_masks_are_those_of_a_cpu(share: float, equal: bool):
    generator = torch.Generator().manual_seed(2)
    scores = {
        name: torch.zeros(shape) if equal else torch.randn(shape, generator=generator).round(decimals=1)
        for name, shape in {"a": (7, 9), "b": (9, 7), "c": (4, 5)}.items()
    }
    count = round(share * sum(values.numel() for values in scores.values()))
    expected = lowest_of_each(scores, share), lowest(scores, count)
    with forms_of_a_gpu():
        found = lowest_of_each(scores, share), lowest(scores, count)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_highest_of_each_matrix_are_those_that_the_lowest_leave() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = {
        "a": torch.randn(20, 30, generator=draw),
        "b": torch.randn(30, 20, generator=draw),
        "c": torch.randn(5, 8),
    }
    few, rest = above_or_highest(scores, math.inf, 0.01), lowest_of_each(scores, 0.99)
    for name in scores:
        assert torch.equal(few[name].bool(), rest[name])
    assert [int(mask.sum()) for mask in few.values()] == [6, 6, 0]
    both = above_or_highest(scores, 2.5, 0.01)
    for name, values in scores.items():
        assert torch.equal(both[name].bool(), rest[name] | (values > 2.5))
