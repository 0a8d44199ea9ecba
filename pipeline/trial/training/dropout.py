"""Dropout at less than half of torch's cost on a CPU, where it took up to a tenth of a training step.

There torch draws 64 random bits per element, one after the other. Fifteen are enough: 64 bits serve four elements, and
the rest is arithmetic on whole vectors. So the probability is rounded to k / 32,768, and the kept elements are scaled
by the rounded probability exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pipeline.model.device import waits_cost

LEVELS = 1 << 15
_LANES = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """Replace a network's dropouts by cheap ones inside the context: torch's generator, but other numbers.

    A copy that is made inside keeps the cheap ones. On a GPU torch's own kernel is faster, and nothing is replaced.
    """
    parameter = next(model.parameters(), None)
    if parameter is not None and waits_cost(parameter.device):
        yield
        return
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
    """nn.Dropout with fewer random bits per element."""

    def forward(self, input: Tensor) -> Tensor:
        """Return zero with probability p, else input / (1 - p); in eval mode the input itself."""
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
        ctx.save_for_backward(keep)  # a byte each, as in torch; not kept under activation checkpointing
        return _scaled(x, keep, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _scaled(gradient, keep, ctx.scale), None


def _keep(x: Tensor, dropped: int) -> Tensor:
    """Draw a mask of the shape of x, int8: all bits set where an element is kept, none where it is dropped."""
    count = x.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = bits.view(torch.int16)[:count].view(x.shape)
    lanes.bitwise_and_(LEVELS - 1)  # 0 … LEVELS - 1
    lanes.neg_().add_(dropped - 1).bitwise_right_shift_(15)  # the sign: -1 if it is `dropped` or more, else 0
    return lanes.to(torch.int8)


def _scaled(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    lanes = _LANES[x.dtype]  # as wide as the elements of x: -1 has all bits set in each
    return x.contiguous().view(lanes).bitwise_and(keep.to(lanes)).view(x.dtype).mul_(scale)
