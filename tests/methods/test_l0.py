"""L0: the hard concrete distribution against its closed forms and by Monte Carlo; the penalty by hand."""

import math

import numpy as np
import pytest
import torch

from pipeline.methods.l0 import L0, hard_concrete, median, open_probability, start_of
from pipeline.task.batches import encoder_inputs
from tests.kit.gated import moment_of, step, watched

ENCODER = 25_632  # parameters; a head has 1,048, an ffn block 64 · 65 + 32


def l0(**changes) -> L0:
    fields = {
        "level": "head",
        "penalty_strength": 2.0,
        "gate_learning_rate": 0.1,
        "beta": 0.66,
        "initial_open": 0.9,
    }
    return L0(**(fields | changes))


def test_a_draw_by_hand():
    # u = 1/2 leaves sigmoid(log α / β): s = sigmoid(1) = 0.731059, z = 1.2 s - 0.1
    z = hard_concrete(torch.tensor([0.66, -6.6, 6.6]), torch.full((3,), 0.5), beta=0.66)
    assert z.tolist() == pytest.approx([0.777270, 0.0, 1.0], abs=1e-5)


@pytest.mark.parametrize("log_alpha", [-2.0, 0.0, 1.5])
def test_the_open_probability_is_that_of_draws(log_alpha: float):
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    z = hard_concrete(torch.full((200_000,), log_alpha), uniform, beta=0.66)
    expected = open_probability(torch.tensor(log_alpha), beta=0.66).item()
    assert (z > 0).double().mean().item() == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 200_000))


def test_the_median_is_half_open_at_0_and_shut_below_a_twelfth():
    edge = math.log((1 / 12) / (11 / 12))
    assert median(torch.tensor([0.0, edge - 0.01, -edge + 0.01])).tolist() == pytest.approx([0.5, 0.0, 1.0])


@pytest.mark.parametrize(("opened", "beta"), [(0.9, 0.66), (0.8, 0.33)])
def test_gates_start_open_with_the_requested_probability(opened: float, beta: float):
    log_alpha = torch.tensor(start_of(opened, beta=beta))
    assert open_probability(log_alpha, beta=beta).item() == pytest.approx(opened)


def test_the_penalty_is_the_open_share_of_the_encoder(make_model, make_batch):
    model, anatomy = make_model()
    batch, method = make_batch(), l0()
    with watched(method, model, anatomy):
        model(**encoder_inputs(batch))
        penalty = method.penalty(batch)
    assert penalty.item() == pytest.approx(2.0 * 0.9 * (12 * 1_048 + 3 * 4_192) / ENCODER, rel=1e-5)


def test_a_strong_penalty_shuts_the_gates_and_bakes_the_median(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    before = anatomy.layers[0].attention_output.weight.detach().clone()
    method = l0(penalty_strength=1e4, gate_learning_rate=0.01)
    with watched(method, model, anatomy) as optimizer:
        model.eval()
        for _ in range(20):
            step(method, model, batch, optimizer)
        closed = median(method._values["log_alpha"].detach())
    scores = method.score(model, anatomy, [])
    assert scores.heads.max() < 0.5
    expected = before * closed[:4].repeat_interleave(8)
    assert torch.equal(anatomy.layers[0].attention_output.weight, expected)


def test_training_draws_and_evaluation_does_not(make_model):
    _, anatomy = make_model()
    method = l0()
    moment = moment_of(anatomy, "head")
    values = method.start(moment.units, moment.run, {})
    draws = [method.gates(values, moment, training=True) for _ in range(2)]
    still = [method.gates(values, moment, training=False) for _ in range(2)]
    assert not torch.equal(*draws)
    assert torch.equal(*still)
    assert np.ptp(still[0].numpy()) == 0
