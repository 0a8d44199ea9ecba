"""Reconstruction: what is refitted, against least squares written out, and networks whose units are replaceable."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.model.surgery import cut
from pipeline.task.batches import encoder_inputs
from pipeline.trial import reconstruction
from pipeline.trial.conformance.networks import HEAD_SIZE, NEURONS, tiny_network, tiny_rows
from pipeline.trial.least_squares import RIDGE, fit
from pipeline.trial.reconstruction import Reconstruction
from tests.kit.networks import KINDS


def logits(model, rows) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(**encoder_inputs(batch)).logits for batch in rows.in_length_order(8)])


@pytest.fixture
def regression() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    linear = nn.Linear(6, 4).double()
    inputs = torch.randn(50, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64) + 3.0
    return linear, inputs, torch.randn(50, 4, dtype=torch.float64)


def ridge_regression(linear: nn.Linear, inputs, outputs, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each output by itself, as an ordinary least-squares problem with rows for the ridge."""
    x, y, old = inputs.numpy(), outputs.numpy(), linear.weight.detach().numpy()
    x0, y0 = x - x.mean(0), y - y.mean(0)
    ridge = RIDGE * np.mean(x0.var(axis=0)) * len(x)
    found = np.zeros_like(old)
    for row in range(len(old)):
        own = np.flatnonzero(kept[row])
        left = np.vstack([x0[:, own], np.sqrt(ridge) * np.eye(len(own))])
        right = np.concatenate([y0[:, row], np.sqrt(ridge) * old[row, own]])
        found[row, own] = np.linalg.lstsq(left, right, rcond=None)[0]
    return found, y.mean(0) - found @ x.mean(0)


def test_a_map_is_fitted_by_ridge_regression_towards_its_weights(regression) -> None:
    linear, inputs, outputs = regression
    weight, bias = ridge_regression(linear, inputs, outputs, np.ones((4, 6), bool))
    fit(linear, inputs, outputs)
    assert np.allclose(linear.weight.detach(), weight, atol=1e-8)
    assert np.allclose(linear.bias.detach(), bias, atol=1e-8)


def test_weights_that_are_zero_stay_zero_and_the_others_are_each_rows_least_squares(regression) -> None:
    linear, inputs, outputs = regression
    kept = np.random.default_rng(0).uniform(size=(4, 6)) > 0.4
    kept[0] = False  # a row without any weight
    with torch.no_grad():
        linear.weight.mul_(torch.from_numpy(kept))
    weight, bias = ridge_regression(linear, inputs, outputs, kept)
    fit(linear, inputs, outputs)
    assert np.array_equal(linear.weight.detach().numpy() != 0, kept)
    assert np.allclose(linear.weight.detach(), weight, atol=1e-6)
    assert np.allclose(linear.bias.detach(), bias, atol=1e-6)


@pytest.mark.parametrize("gone", [0, 3, 24], ids=["no zeros", "some zeros", "all zeros"])
def test_inputs_that_are_all_zero_leave_the_weights_and_fit_the_bias(gone: int) -> None:
    """As the inputs of a projection whose neurons have lost all of their weights, in a network without biases."""
    linear = nn.Linear(6, 4)
    with torch.no_grad():
        linear.weight.view(-1)[:gone] = 0
    before, outputs = linear.weight.clone(), torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    fit(linear, torch.zeros(50, 6), outputs)
    assert torch.equal(linear.weight, before)
    torch.testing.assert_close(linear.bias, outputs.mean(0))


@pytest.mark.parametrize("kind", KINDS)
def test_units_that_others_can_replace_are_replaced(kind: str) -> None:
    """Neuron 9 does what 4 does, head 3 what head 1 does: without 4 and 1 the network is the same, refitted."""
    model, anatomy = tiny_network(kind)
    for part in anatomy.layers:
        with torch.no_grad():
            part.ffn_in.weight[9], part.ffn_in.bias[9] = part.ffn_in.weight[4], part.ffn_in.bias[4]
            for linear in (part.query, part.key, part.value):
                linear.weight[3 * HEAD_SIZE :] = linear.weight[HEAD_SIZE : 2 * HEAD_SIZE]
                linear.bias[3 * HEAD_SIZE :] = linear.bias[HEAD_SIZE : 2 * HEAD_SIZE]
    calibration, others = tiny_rows(kind, rows=80), tiny_rows(kind, rows=10, seed=1)
    found = Reconstruction.of(model, anatomy, calibration)
    dense = logits(model, others)
    masks = anatomy.present
    masks.heads[:, 1] = masks.neurons[:, 4] = False
    anatomy = cut(model, anatomy, masks)
    plain = (logits(model, others) - dense).abs().max()
    found.refit(model, anatomy)
    refitted = (logits(model, others) - dense).abs().max()
    assert plain > 0.05
    assert refitted < 0.02 * plain + 5e-3


def test_the_stream_is_nearer_to_the_uncut_networks_and_the_bias_makes_its_mean_right() -> None:
    model, anatomy = tiny_network()
    rows = tiny_rows(rows=60)
    found = Reconstruction.of(model, anatomy, rows)
    masks = anatomy.present
    masks.heads[0, :2] = masks.heads[1] = masks.neurons[:, ::3] = False  # heads, a block, neurons
    anatomy = cut(model, anatomy, masks)

    def gap() -> dict[tuple[int, str], torch.Tensor]:
        now = Reconstruction.of(model, anatomy, rows).targets
        return {place: now[place] - found.targets[place] for place in now}

    before = gap()
    found.refit(model, anatomy)
    after = gap()
    assert (1, "attention_output") not in after
    for place, difference in after.items():
        assert difference.square().mean() < before[place].square().mean()
        assert difference.mean(0).abs().max() < 1e-4


def test_a_network_that_lost_nothing_stays_what_it_is() -> None:
    model, anatomy = tiny_network()
    rows = tiny_rows(rows=40)
    before = logits(model, rows)
    Reconstruction.of(model, anatomy, rows).refit(model, anatomy)
    assert torch.allclose(logits(model, rows), before, atol=1e-4)


def test_neither_labels_nor_padding_count_and_nothing_is_left_behind() -> None:
    model, anatomy = tiny_network()
    rows = tiny_rows(rows=16)
    masks = anatomy.present
    masks.neurons[:, ::2] = False
    results = []
    for size in (4, 16):  # rows of a batch: other padding
        network, parts = copy.deepcopy((model, anatomy))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconstruction, "BATCH", size)
            network.train()
            found = Reconstruction.of(network, parts, rows)
            parts = cut(network, parts, masks)
            found.refit(network, parts)
        assert network.training
        assert all(not module._forward_pre_hooks for module in network.modules())
        results.append(parts.layers[2].ffn_out.weight.detach())
    assert torch.allclose(*results, atol=1e-3)


def test_many_rows_are_thinned_out_to_so_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "TOKENS_PER_INPUT", 100 / NEURONS)
    rows = tiny_rows(rows=80)
    model, anatomy = tiny_network()
    found = Reconstruction.of(model, anatomy, rows)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in found.batches)
    assert 60 <= tokens <= 140
    assert len(found.targets[0, "ffn_out"]) == tokens
