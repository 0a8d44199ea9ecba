"""Single weights: sums lifted by hand, thresholds against sorting, what is counted."""

import numpy as np
import pytest
import torch

from pipeline.surgery import cut
from pipeline.weights import count_to_remove, lift, lowest, matrices


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
