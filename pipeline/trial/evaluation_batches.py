"""The batches that networks are evaluated on: on a GPU they are made once per process, and stay there."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import replace

import torch

from pipeline.model.anatomy import find_architecture
from pipeline.model.device import waits_cost
from pipeline.task.attention_masks import LENGTH_MULTIPLE, with_mask
from pipeline.task.batches import Batch, Split
from pipeline.trial.training.precision import HALF

# By the identity of the rows, which do not change: a curve reads the same ones some thirty times.
_KEPT: dict[int, dict[tuple[object, ...], list[Batch]]] = {}


def evaluation_batches(
    split: Split, size: int, *, device: torch.device, precision: str, model_type: str
) -> Iterable[Batch]:
    """Return all rows in batches of `size`, sorted by length, on the device."""
    if not waits_cost(device):
        return split.in_length_order(size)
    if id(split) not in _KEPT:
        weakref.finalize(split, _KEPT.pop, id(split), None)
    kept = _KEPT.setdefault(id(split), {})
    dtype, additive = HALF.get(precision, torch.float32), find_architecture(model_type).adds_mask
    key = (size, device, dtype, additive)
    if key not in kept:
        made = replace(split, multiple=LENGTH_MULTIPLE).in_length_order(size)
        masked = (with_mask(batch, dtype=dtype, additive=additive) for batch in made)
        kept[key] = [{name: value.to(device) for name, value in batch.items()} for batch in masked]
    return kept[key]
