"""Masks of attention that are made once per batch, where its lengths are known: on the CPU.

Models of transformers make theirs from `attention_mask` [B, T] in the forward pass: there they first read on the host
whether anything is padded at all, and attention converts a boolean mask anew in every layer. On a GPU both cost more
than the mask.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

import torch

from pipeline.task.batches import MASK, Batch

# Lengths of batches on a GPU: kernels of attention copy a mask whose rows are no multiple of 16 bytes, and a step is
# captured once per length.
LENGTH_MULTIPLE = 16


def with_mask(batch: Batch, *, dtype: torch.dtype, additive: bool) -> Batch:
    """Return a batch on the CPU with the mask that the forward pass is given.

    Args:
        batch: of rows that are padded on the right; one without `attention_mask` is returned as it is.
        dtype: that attention is computed in.
        additive: whether the model adds a mask [B, 1, 1, T] to its scores as it is, and reads it nowhere else.

    Returns:
        With no mask where nothing is padded, which every model takes; else with 0 and the least number for padding, or
        as it is where the model makes its own.
    """
    real = batch.get("attention_mask")
    if real is None:
        return batch
    if bool(real.all()):
        return batch | {MASK: torch.empty(0, dtype=dtype)}
    if not additive:
        return batch
    mask = torch.zeros(len(real), 1, 1, real.shape[1], dtype=dtype)
    return batch | {MASK: mask.masked_fill_(real[:, None, None, :] == 0, torch.finfo(dtype).min)}
