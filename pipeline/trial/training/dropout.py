"""Dropout that costs a CPU less than half: torch's own took up to a tenth of a training step.

torch draws 64 random bits for each element there, one after the other. Fifteen are enough: of every 64 bits four
elements are had, and the rest is arithmetic on whole vectors. So the probability is the nearest of k / 32,768, and what
stays is divided by exactly what stays of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEVELS = 1 << 15
_LANES = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """Within it the dropouts of a network draw cheaply: from torch's generator, as before, but other numbers.

    A copy that is made within goes on to draw so. On a GPU torch's own kernel is better, and is used.
    """
    found = [module for module in model.modules() if type(module) is nn.Dropout]
    for module in found:
        module.__class__ = CheapDropout
    try:
        yield
    finally:
        for module in found:
            module.__class__ = nn.Dropout


@final
class CheapDropout(nn.Dropout):
    """nn.Dropout, drawn otherwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Zero with probability p, else input / (1 - p); the input itself in eval mode."""
        dropped = round(self.p * LEVELS)
        cheap = input.device.type == "cpu" and input.dtype in _LANES
        if not self.training or not 0 < dropped < LEVELS or not cheap:
            return super().forward(input)
        kept: Tensor = _Dropout.apply(input, dropped)  # type: ignore[no-untyped-call]
        return kept


class _Dropout(torch.autograd.Function):
    """x ⊙ keep · LEVELS / (LEVELS - dropped), forward and back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        keep = _keep(x, dropped)
        ctx.scale = LEVELS / (LEVELS - dropped)
        ctx.save_for_backward(keep)  # a byte each, as torch's; not kept where activations are computed again
        return _scaled(x, keep, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _scaled(gradient, keep, ctx.scale), None


def _keep(x: Tensor, dropped: int) -> Tensor:
    """Of the shape of x, int8: all bits set where it stays, none where it is dropped."""
    count = x.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = bits.view(torch.int16)[:count].view(x.shape)
    lanes.bitwise_and_(LEVELS - 1)  # 0 … LEVELS - 1
    lanes.neg_().add_(dropped - 1).bitwise_right_shift_(15)  # the sign: -1 if it is `dropped` or more, else 0
    return lanes.to(torch.int8)


def _scaled(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    lanes = _LANES[x.dtype]  # as wide as its numbers: -1 has all bits set in each
    return x.contiguous().view(lanes).bitwise_and(keep.to(lanes)).view(x.dtype).mul_(scale)
