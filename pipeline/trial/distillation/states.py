"""Hidden states of rows as one vector each."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.task.batches import Batch, real_tokens


def mean_state(hidden: Tensor, batch: Batch) -> Tensor:
    """Return the mean of a row's real tokens, scaled to length 1: [B, T, d] -> [B, d] in fp32."""
    real = real_tokens(batch, hidden).unsqueeze(-1).float()
    summed = (hidden.float() * real).sum(dim=1)
    return nn.functional.normalize(summed, dim=-1)
