"""A late step of AdamW where a mask holds half of the gradients at zero, as movement's do: denormals zero, or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn

from pipeline.trial.training.process import zeroed_denormals
from tests.benchmarks.pairs import Row, clock, compare

NAME = "denormals"
WEIGHTS = 2_000_000
AGE = 900  # steps since the mask; Adam's first moment is 0.9 ** AGE of what it was
STEPS = 5


def measure(*, quick: bool) -> Iterator[Row]:
    """A row for the table."""
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(WEIGHTS))
    optimizer = torch.optim.AdamW([weights], lr=2e-5, fused=True)
    weights.grad = 1e-3 * torch.randn(WEIGHTS)
    optimizer.step()
    weights.grad[::2] = 0.0
    for _ in range(AGE):
        optimizer.step()
    moment = optimizer.state[weights]["exp_avg"]
    aged = moment.clone()

    def turn(*, zeroed: bool) -> float:
        moment.copy_(aged)
        with zeroed_denormals() if zeroed else nullcontext():
            started = clock()
            for _ in range(STEPS):
                optimizer.step()
            return clock() - started

    yield compare(
        NAME,
        f"AdamW, half of the gradients zero for {AGE} steps",
        turn=lambda: turn(zeroed=True),
        against=lambda: turn(zeroed=False),
        base=f"{STEPS} steps of {WEIGHTS / 1e6:.0f} M weights, denormals kept",
        pairs=4 if quick else 9,
    )
