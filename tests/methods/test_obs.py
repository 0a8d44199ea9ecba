"""Structured OBS: what it reads of a network, and which units it finds replaceable."""

import copy

import numpy as np
import pytest
import torch

from pipeline.methods.bases.branches import read_branches
from pipeline.methods.fisher import Fisher
from pipeline.methods.obs import Obs
from pipeline.model.layer_parts import matrix
from pipeline.task.batches import encoder_inputs
from pipeline.task.kinds import BY_OUTPUTS
from pipeline.trial.conformance.networks import HEAD_SIZE, tiny_batch, tiny_network


def test_moments_are_those_of_the_real_tokens_and_sensitivity_is_autograds() -> None:
    model, anatomy = tiny_network(
        outputs=1
    )  # one output: the derivative of a row's loss is noise times d logit
    batch = tiny_batch(outputs=1)
    found = read_branches(model, anatomy, [batch], BY_OUTPUTS)[1, "ffn_out"]

    real, read, written = batch["attention_mask"].bool(), [], []
    linear = anatomy.layers[1].ffn_out

    def keep(_linear, args, output) -> None:
        read.append(args[0])
        written.append(output)

    linear.register_forward_hook(keep)
    logits = model(**encoder_inputs(batch)).logits[:, 0]
    inputs = read[0][real].detach().double().numpy()
    assert found.tokens == len(inputs)
    assert np.allclose(found.covariance, np.cov(inputs.T, bias=True), atol=1e-5)
    assert np.allclose(found.second_moment, inputs.T @ inputs / len(inputs), rtol=1e-4, atol=1e-5)
    noise = torch.randn(len(logits), 1, generator=torch.Generator().manual_seed(0))[:, 0]
    (by_output,) = torch.autograd.grad((logits * noise).sum(), written[0])
    squares = by_output[real].square().sum(0) / int(real.sum())
    assert torch.allclose(found.sensitivity, squares, rtol=1e-3)


def test_labels_of_the_rows_are_not_read() -> None:
    model, anatomy = tiny_network()
    batch = tiny_batch()
    other = batch | {"labels": (batch["labels"] + 1) % 3}
    one, two = (Obs("neuron", "loss").score(model, anatomy, [each]) for each in (batch, other))
    assert np.array_equal(one.heads, two.heads)
    assert np.array_equal(one.neurons, two.neurons)


@pytest.mark.parametrize("errors", ["loss", "output"])
def test_of_two_units_that_do_the_same_one_goes_first(errors) -> None:
    model, anatomy = tiny_network()
    part = anatomy.layers[1]
    with torch.no_grad():
        part.ffn_in.weight[9], part.ffn_in.bias[9] = part.ffn_in.weight[4], part.ffn_in.bias[4]
        for linear in (part.query, part.key, part.value):  # head 3 computes what head 1 does
            linear.weight[3 * HEAD_SIZE :] = linear.weight[HEAD_SIZE : 2 * HEAD_SIZE]
            linear.bias[3 * HEAD_SIZE :] = linear.bias[HEAD_SIZE : 2 * HEAD_SIZE]
    batches = [tiny_batch(rows=12, seed=seed) for seed in range(8)]
    scores = Obs("neuron", errors).score(model, anatomy, batches)
    assert int(scores.neurons[1].argmin()) in (4, 9)
    assert int(scores.heads[1].argmin()) in (1, 3)
    assert np.sort(scores.heads[1])[1] > 10 * scores.heads[1].min()


def test_relative_errors_end_near_one_and_blocks_cost_their_whole_output() -> None:
    model, anatomy = tiny_network()
    batch = tiny_batch()
    branch = read_branches(model, anatomy, [batch], BY_OUTPUTS)[0, "attention_output"]
    weight = matrix(branch.block.output).detach()
    rows = weight * branch.sensitivity.sqrt()[:, None]
    expected = float(torch.trace(rows @ branch.second_moment @ rows.T))
    scores = Obs("block", "loss").score(model, anatomy, [batch])
    assert scores.attention[0] == pytest.approx(expected, rel=1e-4)
    assert scores.heads is None


def test_fishers_diagonal_is_the_mean_square_of_gate_derivatives() -> None:
    model, anatomy = tiny_network()
    batch = tiny_batch()
    scores = Fisher("block", rearrange=False).score(model, anatomy, [batch])
    gates = torch.ones(len(batch["labels"]), requires_grad=True)
    twin = copy.deepcopy(model)
    twin.base_model.encoder.layer[2].output.dense.register_forward_hook(
        lambda _m, _args, output: output * gates[:, None, None]
    )
    logits = twin(**encoder_inputs(batch)).logits
    losses = torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none")
    (found,) = torch.autograd.grad(losses.sum(), gates)
    assert scores.ffn[2] == pytest.approx(float(found.square().mean()), rel=1e-3)


def test_rearranged_a_unit_whose_derivatives_cancel_anothers_goes_early() -> None:
    """Gates of two neurons with opposite outputs: closing both costs nothing, closing one costs much."""
    model, anatomy = tiny_network()
    part = anatomy.layers[2]
    with torch.no_grad():
        part.ffn_in.weight[7], part.ffn_in.bias[7] = part.ffn_in.weight[3], part.ffn_in.bias[3]
        part.ffn_out.weight[:, 7] = -part.ffn_out.weight[:, 3]
    batches = [tiny_batch(rows=12, seed=seed) for seed in range(4)]
    plain = Fisher("neuron", rearrange=False).score(model, anatomy, batches).neurons[2]
    paired = Fisher("neuron", rearrange=True).score(model, anatomy, batches).neurons[2]
    assert plain[3] == pytest.approx(plain[7], rel=1e-3)
    ranks = paired.argsort().argsort()
    assert abs(int(ranks[3]) - int(ranks[7])) == 1  # as soon as one is gone, the other is free
