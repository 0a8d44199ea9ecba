"""Sums of powers over what residual branches put out: the norms that a penalty and a score are made of.

Padding is left out; sums are float32 also under bf16 autocast. Shapes: B rows, T tokens, d features; h heads of
k features each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _MaskedPowerSum(torch.autograd.Function):
    """Σ mask |f|^p with a backward of a single pass over f."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, mask: Tensor, power: int) -> Tensor:
        ctx.save_for_backward(f, mask)
        ctx.power = power
        if power == 2:
            per_token: Tensor = torch.linalg.vector_norm(f, dim=-1, dtype=torch.float32).square()
        else:  # on a CPU four times as fast as vector_norm
            per_token = f.abs().sum(dim=-1, dtype=torch.float32)
        return (per_token * mask).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        f, mask = ctx.saved_tensors
        scale = (grads[0] * ctx.power * mask).unsqueeze(-1).to(f.dtype)
        return (f if ctx.power == 2 else f.sign()) * scale, None, None


def masked_power_sum(f: Tensor, mask: Tensor, *, power: int) -> Tensor:
    """Σ_{t,i} mask_t |f_{t,i}|^p, a float32 scalar; f [B, T, d], mask [B, T]."""
    result: Tensor = _MaskedPowerSum.apply(f, mask, power)  # type: ignore[no-untyped-call]
    return result


def head_power_sums(context: Tensor, weight: Tensor, mask: Tensor, *, head_size: int, power: int) -> Tensor:
    """Σ_{t,i} mask_t |A_h(x)_{t,i}|^p of each head's contribution A_h = W_h c_h: float32 [h].

    p = 2 is exact, by Gram matrices: |W_h c|² = cᵀ (W_hᵀ W_h) c, at 1/h of the projection's cost. p = 1 is a
    stand-in, Σ_t mask_t mean|c_h| Σ_i ‖W_h,i‖: equal in expectation for c_h of independent Gaussians of one
    variance.

    Args:
        context: [B, T, h k], the input of the output projection.
        weight: [d, h k], the output projection's.
        mask: [B, T], 1 for real tokens.
        head_size: k.
        power: p, 1 or 2.
    """
    features, heads = weight.shape[0], weight.shape[1] // head_size
    by_head = weight.view(features, heads, head_size).permute(1, 0, 2)  # [h, d, k]
    tokens = context.reshape(-1, heads, head_size).transpose(0, 1)  # [h, B T, k]
    if power == 2:
        gram = (by_head.transpose(1, 2) @ by_head).to(tokens.dtype)  # [h, k, k]
        squares = ((tokens @ gram) * tokens).sum(dim=-1, dtype=torch.float32)
        return (squares * mask.reshape(1, -1)).sum(dim=1)
    sums = tokens.abs().sum(dim=-1, dtype=torch.float32)
    rows: Tensor = torch.linalg.vector_norm(by_head, dim=2).sum(dim=1)  # [h]
    return (sums * mask.reshape(1, -1)).sum(dim=1) / head_size * rows
