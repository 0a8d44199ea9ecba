"""Equation (3): against singular values, and factors worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.methods.snip.spectral import SpectralBound, power_iteration


def sigma(weight: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().double(), ord=2))


def matrix(rows: int, columns: int, *, norm: float, seed: int = 0) -> nn.Parameter:
    """A random matrix with a clear first singular value, `norm`."""
    generator = torch.Generator().manual_seed(seed)
    u, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator))
    values = torch.zeros(rows, columns)
    count = min(rows, columns)
    values.diagonal().copy_(norm * 0.5 ** torch.arange(count))
    return nn.Parameter(u @ values @ v.T)


def run_steps(bound: SpectralBound, weights: dict[str, torch.Tensor], steps: int, seed: int = 0) -> None:
    optimizer = torch.optim.SGD(list(weights.values()), lr=0.0)
    with bound.on(weights, optimizer, torch.Generator().manual_seed(seed)):
        for _ in range(steps):
            optimizer.step()


def absolute(limit: float, warmup_steps: int = 0) -> SpectralBound:
    return SpectralBound(limit=limit, relative=False, warmup_steps=warmup_steps)


def test_one_power_iteration_by_hand():
    matrices = [torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.eye(2)]
    (estimate, one), (after, same) = power_iteration(matrices, torch.tensor([[0.6, 0.8], [0.6, 0.8]]))
    # v = (1.8, 0.8), W v / |v| = (5.4, 0.8) / |v|
    length, product = math.hypot(1.8, 0.8), math.hypot(5.4, 0.8)
    assert estimate.item() == pytest.approx(product / length)
    assert after.tolist() == pytest.approx([5.4 / product, 0.8 / product])
    assert [one.item(), *same.tolist()] == pytest.approx([1.0, 0.6, 0.8])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1_000))
def test_the_estimate_never_exceeds_the_first_singular_value_and_reaches_it(
    rows: int, columns: int, seed: int
):
    weight = matrix(rows, columns, norm=4.0, seed=seed).detach()
    u = torch.randn(1, rows, generator=torch.Generator().manual_seed(seed + 1))
    for _ in range(30):
        estimate, u = power_iteration([weight], u)
        assert estimate <= 4.0 * (1 + 1e-5)
    assert estimate.item() == pytest.approx(4.0, rel=1e-3)


def test_an_absolute_bound_shrinks_what_is_above_it_and_leaves_the_rest_bit_equal():
    large, small = matrix(6, 4, norm=8.0), matrix(4, 6, norm=1.5, seed=1)
    before_large, before_small = large.detach().clone(), small.detach().clone()
    run_steps(absolute(2.0), {"large": large, "small": small}, 1)
    assert sigma(large) == pytest.approx(2.0, rel=1e-4)
    assert torch.allclose(large, before_large * 0.25, rtol=1e-4)  # 2 / 8
    assert torch.equal(small, before_small)


def test_a_relative_bound_is_a_part_of_each_matrix_s_first_norm():
    weights = {"a": matrix(5, 5, norm=10.0), "b": matrix(5, 5, norm=2.0, seed=1)}
    run_steps(SpectralBound(limit=0.25, relative=True, warmup_steps=0), weights, 1)
    assert sigma(weights["a"]) == pytest.approx(2.5, rel=1e-4)
    assert sigma(weights["b"]) == pytest.approx(0.5, rel=1e-4)


def test_the_bound_falls_geometrically_over_the_warm_up():
    weight = matrix(6, 6, norm=8.0)
    bound, seen = absolute(2.0, warmup_steps=2), []
    optimizer = torch.optim.SGD([weight], lr=0.0)
    with bound.on({"w": weight}, optimizer, torch.Generator()):
        for _ in range(3):
            optimizer.step()
            seen.append(sigma(weight))
    assert seen == pytest.approx([4.0, 2.0, 2.0], rel=1e-4)  # 8 · (2 / 8)^(1/2), then 2


def test_a_matrix_that_starts_below_the_bound_is_held_to_it_during_the_warm_up_too():
    weight = matrix(6, 6, norm=1.0)
    bound = absolute(2.0, warmup_steps=10)
    optimizer = torch.optim.SGD([weight], lr=0.0)
    with bound.on({"w": weight}, optimizer, torch.Generator()):
        with torch.no_grad():
            weight.mul_(5)
        optimizer.step()
    assert sigma(weight) == pytest.approx(2.0, rel=1e-4)


def test_the_bound_is_kept_while_training_moves_the_matrix():
    torch.manual_seed(0)
    weight = matrix(12, 8, norm=3.0)
    optimizer = torch.optim.SGD([weight], lr=0.05)
    largest = 0.0
    with absolute(1.0).on({"w": weight}, optimizer, torch.Generator().manual_seed(0)):
        for step in range(60):
            weight.grad = torch.randn_like(weight)
            optimizer.step()
            if step > 10:
                largest = max(largest, sigma(weight))
    assert largest < 1.25  # one iteration per step trails a random walk by a little
    assert largest > 0.9


def test_hooks_are_gone_after_the_context_also_after_an_error():
    weight = matrix(4, 4, norm=8.0)
    optimizer = torch.optim.SGD([weight], lr=0.0)
    with pytest.raises(KeyError), absolute(1.0).on({"w": weight}, optimizer, torch.Generator()):
        raise KeyError
    optimizer.step()
    assert sigma(weight) == pytest.approx(8.0, rel=1e-4)


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_stopped_and_continued_is_bit_equal(stop: int):
    def train(bound: SpectralBound, weight: nn.Parameter, first: int, last: int, seed: int) -> None:
        optimizer = torch.optim.SGD([weight], lr=0.1)
        with bound.on({"w": weight}, optimizer, torch.Generator().manual_seed(seed)):
            for step in range(first, last):
                generator = torch.Generator().manual_seed(step)
                weight.grad = torch.randn(weight.shape, generator=generator)
                optimizer.step()

    def fresh() -> SpectralBound:
        return SpectralBound(limit=0.3, relative=True, warmup_steps=5)

    through, whole = fresh(), matrix(7, 5, norm=6.0)
    train(through, whole, 0, 9, seed=0)
    before, halves = fresh(), matrix(7, 5, norm=6.0)
    train(before, halves, 0, stop, seed=0)
    after = fresh()
    after.load({name: value.clone() for name, value in before.state().items()})
    train(after, halves, stop, 9, seed=99)  # the generator is not needed again
    assert torch.equal(whole, halves)
    assert through.state().keys() == after.state().keys()
    assert all(torch.equal(value, after.state()[name]) for name, value in through.state().items())


def test_after_a_cut_the_bound_relates_to_the_first_norm_still():
    whole = matrix(8, 6, norm=8.0)
    bound = SpectralBound(limit=0.5, relative=True, warmup_steps=0)
    run_steps(bound, {"w": whole}, 1)
    rest = nn.Parameter(whole.detach()[:5].clone() * 10)
    run_steps(bound, {"w": rest}, 1)
    assert sigma(rest) == pytest.approx(4.0, rel=1e-3)


def test_a_matrix_of_zeros_stays_zero():
    weight = nn.Parameter(torch.zeros(3, 3))
    run_steps(SpectralBound(limit=0.5, relative=True, warmup_steps=0), {"w": weight}, 3)
    assert torch.equal(weight, torch.zeros(3, 3))
