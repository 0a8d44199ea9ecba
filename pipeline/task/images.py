"""Images of one size as rows in Arrow, and the batches they are read in.

Shapes: B rows, C channels, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from pipeline.task.batches import Batch, IntArray, Split


@final
@dataclass(frozen=True)
class ImageSplit(Split):
    """Rows of one part of a task of images.

    `table` has the columns id (string), pixels (fixed-size list of C·H·W uint8 each) and label. A network reads
    (pixel · scale - mean) / deviation, channel by channel.
    """

    shape: tuple[int, int, int] = (3, 224, 224)  # C, H, W
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255
    tokens: int = 197  # that the network makes of an image

    @property
    def lengths(self) -> IntArray:
        """Tokens of every row."""
        return np.full(len(self), self.tokens, np.int64)

    def words(self, size: int) -> npt.NDArray[np.bool_]:
        """Return all True: an image has no words."""
        return np.ones(size, bool)

    def collate(self, rows: IntArray) -> Batch:
        """Return the given rows as one batch: `pixel_values` [B, C, H, W]; all of its tokens are real."""
        column = self.table["pixels"].combine_chunks()
        size = int(np.prod(self.shape))
        values = np.asarray(column.values.to_numpy()).reshape(-1, size)[column.offset + rows]
        pixels = torch.from_numpy(values).view(len(rows), *self.shape).float() * self.scale
        mean, deviation = (torch.tensor(each).view(1, -1, 1, 1) for each in (self.mean, self.deviation))
        labels = torch.from_numpy(self.labels[rows])
        return {"pixel_values": (pixels - mean) / deviation, "labels": labels, "rows": torch.from_numpy(rows)}
