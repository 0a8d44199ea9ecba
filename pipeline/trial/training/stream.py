"""The stream of batches that a trial is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch

from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.device import waits_cost
from pipeline.task.attention_masks import LENGTH_MULTIPLE, with_mask
from pipeline.task.batches import Batch, IntArray, Split
from pipeline.trial.training.phases import steps_per_epoch
from pipeline.trial.training.precision import HALF
from pipeline.trial.training.recipe import Recipe


@final
class Stream:
    """Batches by their place; every epoch has an order of its own. For a GPU with rounded lengths and made masks."""

    def __init__(
        self, train: Split, recipe: Recipe, anatomy: Anatomy, device: torch.device, *, seed: int
    ) -> None:
        self._gpu = waits_cost(device)
        self._rows = replace(train, multiple=LENGTH_MULTIPLE) if self._gpu else train
        self._recipe, self._seed = recipe, seed
        self._additive = find_architecture(anatomy.architecture).adds_mask
        self._epoch: tuple[int, list[IntArray]] = (-1, [])
        self.per_epoch = steps_per_epoch(len(train), recipe.batch_size)

    def batch(self, place: int) -> Batch:
        """Return the batch of a place, on the CPU."""
        return self.collate(self.rows(place))

    def rows(self, place: int) -> IntArray:
        """Return the numbers of the rows of a place's batch."""
        epoch, index = divmod(place, self.per_epoch)
        if epoch != self._epoch[0]:
            order = self._rows.training_order(self._recipe.batch_size, seed=self._seed + epoch)
            self._epoch = epoch, order
        return self._epoch[1][index]

    def collate(self, rows: IntArray) -> Batch:
        """Return rows as one batch, on the CPU."""
        batch = self._rows.collate(rows)
        if not self._gpu:
            return batch
        dtype = HALF.get(self._recipe.precision, torch.float32)
        return with_mask(batch, dtype=dtype, additive=self._additive)
