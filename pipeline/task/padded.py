"""Outputs of several batches as one tensor: what has an entry per token is padded to the longest."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def alike(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors [B, ...] with zeros after their second dimension, so that all have the longest's."""
    if parts[0].ndim < 3 or len({part.shape[1] for part in parts}) == 1:
        return list(parts)
    longest = max(part.shape[1] for part in parts)
    return [
        nn.functional.pad(part, (*(0, 0) * (part.ndim - 2), 0, longest - part.shape[1])) for part in parts
    ]
