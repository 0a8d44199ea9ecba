"""SNIP by neurons, and the norm of what is left of a unit after regression: materialised, and by brute force."""

import numpy as np
import pytest
import torch

from pipeline.methods.base import Run
from pipeline.methods.bases.elimination import RISE
from pipeline.methods.snip.residual import RIDGE, residual_norms
from pipeline.methods.snip.snip import Snip
from pipeline.methods.snip.units import Units
from pipeline.model.surgery import cut
from pipeline.task.batches import encoder_inputs
from tests.kit.snip import snip

LAYERS, HEADS, NEURONS, HEAD_SIZE, WIDTH = 3, 4, 64, 8, 32


def by_neurons(**changes) -> Snip:
    return snip(**({"level": "neuron"} | changes))


def read_by(model, linears, batch) -> list[torch.Tensor]:
    """What linear maps read of real tokens [T, n]."""
    real, found = batch["attention_mask"].bool(), {}
    hooks = [
        linear.register_forward_pre_hook(lambda m, args: found.__setitem__(m, args[0][real]))
        for linear in linears
    ]
    model(**encoder_inputs(batch))
    for hook in hooks:
        hook.remove()
    return [found[linear] for linear in linears]


def norms_of_units(linear, inputs: torch.Tensor, size: int, norm: str) -> torch.Tensor:
    """The norm of each unit's own output, materialised."""
    outputs = torch.einsum(
        "tuk,duk->utd", inputs.view(len(inputs), -1, size), linear.weight.view(len(linear.weight), -1, size)
    )
    return outputs.square().mean((1, 2)).sqrt() if norm == "rms" else outputs.abs().mean((1, 2))


@pytest.mark.parametrize("norm", ["rms", "mean_abs"])
def test_neurons_have_the_norms_of_their_outputs(make_model, make_batch, norm: str) -> None:
    model, anatomy = make_model()
    batch = make_batch()
    scores = by_neurons(norm=norm).score(model, anatomy, [batch])
    maps = [part.ffn_out for part in anatomy.layers]
    for layer, (linear, inputs) in enumerate(zip(maps, read_by(model, maps, batch), strict=True)):
        expected = norms_of_units(linear, inputs, 1, norm).detach().numpy()
        np.testing.assert_allclose(scores.neurons[layer], expected, rtol=1e-4)
    assert scores.heads.shape == (LAYERS, HEADS)
    assert scores.ffn is None


def test_the_penalty_by_neurons_and_its_gradient_are_the_plain_formula(make_model, make_batch) -> None:
    model, anatomy = make_model()
    batch, method = make_batch(), by_neurons(unit_weight="parameters", ffn_weight=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    run = Run(4, train_rows=6, target=None, generator=torch.Generator())
    with method.watch(model, anatomy, optimizer, run):
        model(**encoder_inputs(batch))
        found = method.penalty(batch)
        ours = torch.autograd.grad(found, anatomy.layers[1].ffn_in.weight)[0]
        told = method.report()
    heads = [part.attention_output for part in anatomy.layers]
    ffn = [part.ffn_out for part in anatomy.layers]
    norms = [
        norms_of_units(m, x, HEAD_SIZE, "rms")
        for m, x in zip(heads, read_by(model, heads, batch), strict=True)
    ]
    norms += [norms_of_units(m, x, 1, "rms") for m, x in zip(ffn, read_by(model, ffn, batch), strict=True)]
    weights = torch.tensor(
        [float(anatomy.costs.head)] * (LAYERS * HEADS) + [float(anatomy.costs.neuron)] * (LAYERS * NEURONS)
    )
    weights /= weights.mean()
    weights[LAYERS * HEADS :] *= 2.0
    expected = weights @ torch.cat(norms) / weights.sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    plain = torch.autograd.grad(expected, anatomy.layers[1].ffn_in.weight)[0]
    torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-6)
    assert told["norm/neurons.1"] == pytest.approx(norms[LAYERS + 1].mean().item(), rel=1e-4)
    assert told["norm/head.2.3"] == pytest.approx(norms[2][3].item(), rel=1e-4)


def greedy(weight: np.ndarray, covariance: np.ndarray, size: int) -> np.ndarray:
    """The residual norms of units, each from the conditional covariance, computed anew at every step."""
    ridge = RIDGE * np.diag(covariance).mean()
    covariance = covariance + ridge * np.eye(len(covariance))
    places = [np.arange(u * size, (u + 1) * size) for u in range(len(covariance) // size)]
    stay, found, most = list(range(len(places))), np.zeros(len(places)), 0.0
    gone: list[int] = []
    total = 0.0
    for step in range(len(places)):
        errors = []
        for unit in stay:
            out = np.concatenate([places[u] for u in [*gone, unit]])
            rest = np.setdiff1d(np.arange(len(covariance)), out)
            conditional = covariance[np.ix_(out, out)]
            if len(rest):
                across = covariance[np.ix_(out, rest)]
                conditional = conditional - across @ np.linalg.solve(covariance[np.ix_(rest, rest)], across.T)
            errors.append(np.trace(weight[:, out] @ conditional @ weight[:, out].T))
        best = int(np.argmin(errors))
        most = max(most, errors[best] - total)
        total = errors[best]
        found[stay[best]] = most * (1 + RISE * step)
        gone.append(stay.pop(best))
    return np.sqrt(found / len(weight))


def test_residuals_of_heads_are_those_of_regression_by_brute_force(make_model, make_batch) -> None:
    model, anatomy = make_model()
    batch = make_batch(rows=12)
    scores = by_neurons(score_of="residual", level="head").score(model, anatomy, [batch])
    maps = [part.attention_output for part in anatomy.layers]
    for layer, (linear, inputs) in enumerate(zip(maps, read_by(model, maps, batch), strict=True)):
        covariance = np.cov(inputs.detach().double().numpy().T, bias=True)
        expected = greedy(linear.weight.detach().double().numpy(), covariance, HEAD_SIZE)
        np.testing.assert_allclose(scores.heads[layer], expected, rtol=1e-2)


def test_a_neuron_that_another_can_replace_is_worth_nothing_however_large(make_model, make_batch) -> None:
    model, anatomy = make_model()
    part = anatomy.layers[1]
    with torch.no_grad():
        part.ffn_in.weight[5], part.ffn_in.bias[5] = part.ffn_in.weight[9], part.ffn_in.bias[9]
        part.ffn_out.weight[:, 5] *= 20.0
    batch = make_batch(rows=12)
    by_norm = by_neurons().score(model, anatomy, [batch]).neurons[1]
    by_residual = by_neurons(score_of="residual").score(model, anatomy, [batch]).neurons[1]
    assert by_norm.argmax() == 5
    # one of the two goes for next to nothing, the other is then needed
    assert min(by_residual[5], by_residual[9]) < 0.1 * by_norm[5]
    assert (by_residual <= by_norm.max() * 1.001).all()


def test_residuals_of_blocks_are_those_of_regression_on_the_projection_before(make_model, make_batch) -> None:
    model, anatomy = make_model()
    batch = make_batch(rows=12)
    branches = Units(anatomy, "block").branches()
    found = residual_norms(model, branches, [batch])
    linears = [linear for part in anatomy.layers for linear in (part.attention_output, part.ffn_out)]
    inputs = [each.detach().double() for each in read_by(model, linears, batch)]
    expected = []
    for place, (linear, own) in enumerate(zip(linears, inputs, strict=True)):
        outputs = own @ linear.weight.detach().double().T
        left = outputs - outputs.mean(0)
        if place:
            before = inputs[place - 1] - inputs[place - 1].mean(0)
            gram = before.T @ before / len(before)
            gram.diagonal().add_(RIDGE * gram.diagonal().mean())
            taught = torch.linalg.solve(gram, before.T @ left / len(before))
            # E|o - Bz|^2 of the ridge solution, without its penalty's second part
            square = (left * left).mean(0).sum() - (taught * (before.T @ left / len(before))).sum()
        else:
            square = (left * left).mean(0).sum()
        expected.append(float((square / outputs.shape[1]).sqrt()))
    order = [2 * branch.layer + (branch.name == "ffn") for branch in branches]
    np.testing.assert_allclose(found, np.array(expected)[order], rtol=1e-2)


@pytest.mark.parametrize("score_of", ["norm", "residual"])
@pytest.mark.parametrize("level", ["block", "head", "neuron"])
def test_units_that_are_gone_have_no_score(make_model, make_batch, level: str, score_of: str) -> None:
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[0, :2] = masks.heads[1] = masks.neurons[2] = masks.neurons[0, ::3] = False
    anatomy = cut(model, anatomy, masks)
    scores = by_neurons(level=level, score_of=score_of).score(model, anatomy, [make_batch()])
    there = {
        "heads": masks.heads,
        "attention": masks.heads.any(1),
        "neurons": masks.neurons,
        "ffn": masks.neurons.any(1),
    }
    for kind, present in there.items():
        values = getattr(scores, kind)
        if values is not None:
            assert np.array_equal(np.isnan(values), ~present)
            assert (values[present] >= 0).all()
