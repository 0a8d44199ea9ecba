"""Cheap dropout is dropout: the same law, gradient and mode, from torch's generator."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.trial.training.dropout import LEVELS, CheapDropout, cheap_dropout

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def dropped(p: float, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return CheapDropout(p)(torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_so_much_goes_and_the_rest_is_scaled(p: float, dtype: torch.dtype) -> None:
    count = 400_000
    found = dropped(p, (count,), dtype)
    gone = (found == 0).double().mean().item()
    assert abs(gone - p) < 4.5 * math.sqrt(p * (1 - p) / count) + 1 / LEVELS
    level = round(p * LEVELS)
    expected = torch.ones((), dtype=dtype) * (LEVELS / (LEVELS - level))
    assert (found[found != 0] == expected).all()


@given(
    p=st.floats(0.0, 1.0),
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(DTYPES),
)
def test_it_keeps_or_drops_and_the_gradient_goes_the_same_way(
    p: float, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape).add(3.0 * torch.ones(shape)).to(dtype).requires_grad_()
    out = CheapDropout(p)(x)
    back = torch.randn(shape).to(dtype)
    (gradient,) = torch.autograd.grad(out, x, back)
    kept = out != 0
    level = round(p * LEVELS)
    own = torch.ones((), dtype=dtype).div(1 - p)  # torch's, whose noise is divided in the input's precision
    scale = LEVELS / (LEVELS - level) if 0 < level < LEVELS else own
    assert (out.shape, out.dtype) == (x.shape, dtype)
    assert torch.equal(out, torch.where(kept, (x.detach() * scale), torch.zeros_like(x)).to(dtype))
    nonzero = x.detach() != 0  # where the input is 0 the output does not tell
    assert torch.equal(
        gradient[nonzero], torch.where(kept, back * scale, torch.zeros_like(back)).to(dtype)[nonzero]
    )


def test_neighbours_and_calls_know_nothing_of_each_other() -> None:
    """Four elements share one random number: all sixteen patterns of four come as often as they should."""
    four = (dropped(0.5, (100_000, 4)) == 0).int() @ torch.tensor([1, 2, 4, 8], dtype=torch.int32)
    counts = torch.bincount(four, minlength=16).double()
    chi = ((counts - 6_250) ** 2 / 6_250).sum().item()
    assert chi < 44.3  # 15 degrees of freedom, 1 in 10,000
    torch.manual_seed(0)
    layer = CheapDropout(0.5)
    first, second = (layer(torch.ones(100_000)) == 0 for _ in range(2))
    both = (first & second).double().mean().item()
    assert abs(both - 0.25) < 0.01


def test_the_seed_decides() -> None:
    assert torch.equal(dropped(0.3, (5, 7), seed=1), dropped(0.3, (5, 7), seed=1))
    assert not torch.equal(dropped(0.3, (50, 7), seed=1), dropped(0.3, (50, 7), seed=2))


def test_rows_that_do_not_lie_together() -> None:
    x = torch.randn(6, 4).t()
    torch.manual_seed(0)
    found = CheapDropout(0.5)(x)
    scaled = found != 0
    assert torch.equal(found[scaled], 2 * x[scaled])


def test_a_byte_is_kept_of_each_element_and_nothing_where_it_is_computed_again() -> None:
    layer, x = CheapDropout(0.5), torch.randn(8, 5, requires_grad=True)

    def gradient(*, again: bool) -> tuple[Tensor, list[Tensor]]:
        kept: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: kept.append(saved) or saved, lambda saved: saved
        ):
            torch.manual_seed(0)
            out = checkpoint(layer, x, use_reentrant=False) if again else layer(x)
        (found,) = torch.autograd.grad(out.sum(), x)
        return found, kept

    plain, kept = gradient(again=False)
    assert [(each.dtype, each.shape) for each in kept] == [(torch.int8, x.shape)]
    recomputed, kept = gradient(again=True)
    assert not [each for each in kept if each.dtype == torch.int8]  # the input alone
    assert torch.equal(recomputed, plain)


def test_within_training_only() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.0)))
    names = [name for name, _ in model.named_modules()]
    with cheap_dropout(model):
        assert isinstance(model[1], CheapDropout)
        assert isinstance(copy.deepcopy(model)[1], CheapDropout)
        model.eval()
        x = torch.randn(2, 3)
        assert torch.equal(model[1](x), x)
        model.train()
        assert torch.equal(model[2](x), x)
    assert [type(module) for module in model.modules()].count(nn.Dropout) == 2
    assert [name for name, _ in model.named_modules()] == names


def test_they_are_torchs_again_when_training_fails() -> None:
    model = nn.Sequential(nn.Dropout(0.5))

    def training() -> None:
        with cheap_dropout(model):
            raise KeyError

    with pytest.raises(KeyError):
        training()
    assert type(model[0]) is nn.Dropout
