"""Derivatives of the loss by gates, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from pipeline.methods.bases.gates import Gates
from pipeline.model.eval_mode import evaluating
from pipeline.task.batches import Batch, encoder_inputs
from pipeline.task.kinds import Kind


def gate_derivatives(
    model: nn.Module, gates: Gates, batches: Iterable[Batch], kind: Kind
) -> Iterator[Tensor]:
    """Yield the derivative of each row's loss by each gate [B, D], batch by batch, in eval mode.

    Only the gates get a gradient.
    """
    device = gates.layer.device
    ones: list[Tensor] = [torch.ones(0)]  # [B, D] of the batch at hand
    with evaluating(model), gates.on(model, lambda: ones[0]), torch.enable_grad():
        for batch in batches:
            here = {name: value.to(device) for name, value in batch.items()}
            count = len(batch["labels"])
            ones[0] = torch.ones(count, len(gates), device=device, requires_grad=True)
            loss = kind.loss(kind.outputs(model(**encoder_inputs(here)), here), here)
            (found,) = torch.autograd.grad(loss * count, ones)  # the sum over rows: each its own
            yield found
