"""Sums of powers over the outputs of residual branches: the norms in SNIP's penalty and score.

Padding is left out; sums are float32 also under autocast. Shapes: B rows, T tokens, d features; h heads of
k features each. Leading axes "…" are those of layers of one shape, which a GPU sums together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.model.device import waits_cost

FP16_SHARE = 1024.0  # a sum over tokens is divided by this, so that fp16 holds it


class _MaskedPowerSum(torch.autograd.Function):
    """Σ mask |f|^p with a backward of a single pass over f."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, mask: Tensor, power: int) -> Tensor:
        ctx.save_for_backward(f, mask)
        ctx.power = power
        if power == 2 and not waits_cost(f.device):  # half the time of vector_norm
            per_token: Tensor = f.to(torch.float32, copy=True).square_().sum(dim=-1)
        elif power == 2:  # one launch, nothing of f's size is written
            per_token = torch.linalg.vector_norm(f, dim=-1, dtype=torch.float32).square()
        else:  # on a CPU four times as fast as vector_norm
            per_token = f.abs().sum(dim=-1, dtype=torch.float32)
        return (per_token * mask).sum(dim=(-2, -1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        f, mask = ctx.saved_tensors
        scale = (grads[0][..., None, None] * ctx.power * mask).unsqueeze(-1).to(f.dtype)
        return (f if ctx.power == 2 else f.sign()) * scale, None, None


def masked_power_sum(f: Tensor, mask: Tensor, *, power: int) -> Tensor:
    """Return Σ_{t,i} mask_t |f_{t,i}|^p, float32 […]; f […, B, T, d], mask [B, T]."""
    result: Tensor = _MaskedPowerSum.apply(f, mask, power)  # type: ignore[no-untyped-call]
    return result


class _HeadSquares(torch.autograd.Function):
    """Σ_t mask_t |W_h c_t|² = ⟨W_hᵀ W_h, Σ_t mask_t c_t c_tᵀ⟩ of each head: one product over tokens, one back."""

    @staticmethod
    def forward(ctx: Any, context: Tensor, weight: Tensor, mask: Tensor, head_size: int) -> Tensor:
        by_head = _by_head(weight, head_size)
        real = _tokens(
            context * mask.unsqueeze(-1).to(context.dtype), head_size
        ).contiguous()  # […, h, B T, k]
        gram = by_head.mT @ by_head  # […, h, k, k]
        moment = _moment(real).to(gram.dtype)  # […, h, k, k]
        ctx.save_for_backward(real, weight, gram, moment)
        ctx.shape = context.shape
        return (gram * moment).sum(dim=(-2, -1), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        real, weight, gram, moment = ctx.saved_tensors
        scale = (2 * grads[0])[..., None, None]
        context = (real @ (scale * gram).to(real.dtype)).transpose(-3, -2).reshape(ctx.shape)
        by_head = _by_head(weight, gram.shape[-1])
        return context, (by_head @ (scale * moment)).transpose(-3, -2).reshape(weight.shape), None, None


def _moment(real: Tensor) -> Tensor:
    """Return Σ_t c_t c_tᵀ of each head […, h, k, k]; in float32 for fp16, in which a sum over tokens soon overflows."""
    if real.dtype != torch.float16:
        return real.mT @ real
    small = real / FP16_SHARE
    return (small.mT @ real).float() * FP16_SHARE


def _by_head(weight: Tensor, head_size: int) -> Tensor:
    return weight.view(*weight.shape[:-1], -1, head_size).transpose(-3, -2)  # […, h, d, k]


def _tokens(context: Tensor, head_size: int) -> Tensor:
    shape = (*context.shape[:-3], -1, context.shape[-1] // head_size, head_size)
    return context.reshape(shape).transpose(-3, -2)  # […, h, B T, k]


def head_power_sums(context: Tensor, weight: Tensor, mask: Tensor, *, head_size: int, power: int) -> Tensor:
    """Return Σ_{t,i} mask_t |A_h(x)_{t,i}|^p of each head's contribution A_h = W_h c_h: float32 […, h].

    p = 2 is exact, by Gram matrices of weights and of contexts, at 1/h of the projection's cost. p = 1 is a
    stand-in, Σ_t mask_t mean|c_h| Σ_i ‖W_h,i‖: equal in expectation for c_h of independent Gaussians of one
    variance.

    Args:
        context: […, B, T, h k], the input of the output projection.
        weight: […, d, h k], the output projection's.
        mask: [B, T], 1 for real tokens.
        head_size: k.
        power: p, 1 or 2.
    """
    if power == 2:
        squares: Tensor = _HeadSquares.apply(context, weight, mask, head_size)  # type: ignore[no-untyped-call]
        return squares
    by_head = _by_head(weight, head_size)
    sums = _tokens(context, head_size).abs().sum(dim=-1, dtype=torch.float32)  # […, h, B T]
    rows: Tensor = torch.linalg.vector_norm(by_head, dim=-1).sum(dim=-1)  # […, h]
    return (sums * mask.flatten()).sum(dim=-1) / head_size * rows


def neuron_power_sums(activations: Tensor, weight: Tensor, mask: Tensor, *, power: int) -> Tensor:
    """Return Σ_{t,i} mask_t |w_n,i a_n,t|^p = |w_n|_p^p Σ_t mask_t |a_n,t|^p of each neuron: float32 […, n].

    Args:
        activations: […, B, T, n], the input of the output projection.
        weight: […, d, n], the output projection's.
        mask: [B, T], 1 for real tokens.
        power: p, 1 or 2.
    """
    real = activations.float() * mask.unsqueeze(-1)
    sums = (real.square() if power == 2 else real.abs()).sum(dim=(-3, -2))
    columns = (weight.float().square() if power == 2 else weight.float().abs()).sum(dim=-2)
    found: Tensor = sums * columns
    return found


def power_sums(
    caught: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    mask: Tensor,
    *,
    sizes: Sequence[int],
    power: int,
) -> Tensor:
    """Return the sums of all branches, float32 [U], in their order; on a GPU those of one shape are made together.

    Args:
        caught: of each branch, its output [B, T, d], or what its output projection reads [B, T, h k].
        weights: of each branch, None for the sum over its output, or its output projection's [d, h k] for units of it.
        mask: [B, T], 1 for real tokens.
        sizes: of each branch, k of its units: 1 for neurons.
        power: p, 1 or 2.
    """
    groups: dict[object, list[int]] = {}
    for place, (read, weight) in enumerate(zip(caught, weights, strict=True)):
        shape = (read.shape, weight is None)
        groups.setdefault(shape if waits_cost(mask.device) else place, []).append(place)
    found: dict[int, Tensor] = {}
    for places in groups.values():
        read = _stacked([caught[place] for place in places])
        its = [weight for place in places if (weight := weights[place]) is not None]
        if its and sizes[places[0]] == 1:
            sums = neuron_power_sums(read, _stacked(its), mask, power=power)
        elif its:
            sums = head_power_sums(read, _stacked(its), mask, head_size=sizes[places[0]], power=power)
        else:
            sums = masked_power_sum(read, mask, power=power)
        parts = sums.reshape(len(places), -1).unbind() if len(places) > 1 else [sums.reshape(-1)]
        found |= zip(places, parts, strict=True)
    return torch.cat([found[place] for place in range(len(caught))])


def _stacked(tensors: list[Tensor]) -> Tensor:
    """Return tensors of one shape with an axis for them; a single one without a copy."""
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors)
