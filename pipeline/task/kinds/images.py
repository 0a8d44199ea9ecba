"""Images: a row, an image in base64, has one of C classes.

All images of a task are grey, or all are in colour; a network with three channels reads both, as
`transformers.pipeline` does.

Shapes: B rows of a batch, C classes, V rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from torch import Tensor

from pipeline.task.batches import Split
from pipeline.task.imagefiles import decoded, is_grey, opened
from pipeline.task.images import ImageSplit
from pipeline.task.kinds.base import Description, Judged
from pipeline.task.kinds.classification import Classification
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 256  # images that are decoded together
TOP = 5


@dataclass(frozen=True)
class Images(Classification):
    """One class per image; the loss is the cross-entropy. `grey`: whether its images have no colours."""

    name: ClassVar[str] = "images"
    network: ClassVar[str] = "image-classification"
    of_images: ClassVar[bool] = True
    usual: ClassVar[Usual] = Usual(texts=("image", "img", "picture", "file_name", "path"), pairs=())

    grey: bool = False

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the classes that the rows have, and whether their images are grey.

        Raises:
            ValueError: a row has no image, or some are grey and some in colour.
        """
        found = super().learn(rows, described)
        return replace(found, grey=one_mode(rows))

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with class numbers, int64; images are as grey, or as coloured, as those of train."""
        if rows.num_rows and one_mode(rows) != self.grey:
            words = {True: "grey", False: "in colour"}
            raise ValueError(
                f"its images are {words[not self.grey]}, those of train {words[self.grey]}; a task has one kind"
            )
        return super().numbered(rows)

    @classmethod
    def keys(cls, rows: pa.Table) -> list[str]:
        """Return the images themselves: equal ones are never parted."""
        return [str(text) for text in rows["text_a"].to_pylist()]

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return numbered rows as pixels of the network's size: id, pixels (C·H·W bytes each), label."""
        del max_length
        reader: Any = tokenizer  # what stands in a tokenizer's place: model.image_inputs.ImageReader
        channels = reader.shape[0]
        parts = []
        for start in range(0, rows.num_rows, AT_ONCE):
            some = rows.slice(start, AT_ONCE)
            named = zip(some["id"].to_pylist(), some["text_a"].to_pylist(), strict=True)
            parts.append(reader.pixels([_at(row, text, decoded, channels=channels) for row, text in named]))
        pixels = np.concatenate(parts) if parts else np.zeros((0, int(np.prod(reader.shape))), np.uint8)
        column = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), pixels.shape[1])
        return pa.table({"id": rows["id"], "pixels": column, "label": rows["label"]}).combine_chunks()

    def split(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Split:
        """Return encoded rows with what a network makes of their pixels."""
        reader: Any = tokenizer
        return ImageSplit(rows, 0, reader.shape, reader.mean, reader.deviation, reader.scale, reader.tokens)

    def examples(self, rows: pa.Table) -> list[str]:
        """Return the longer side of each image in pixels."""
        return [str(max(opened(text).size)) for text in rows["text_a"].to_pylist()]

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean cross-entropy and the most likely class [V]; of more than five classes `top5`, too.

        That is the share of images whose class is among the five most likely ones.
        """
        judged = super().judge(kept, split)
        if kept.shape[1] <= TOP:
            return judged
        best = kept.topk(TOP, dim=-1).indices.numpy()
        hit = (best == np.asarray(split.labels)[:, None]).any(axis=1)
        return replace(judged, scores={**judged.scores, "top5": float(hit.mean())})


def one_mode(rows: pa.Table) -> bool:
    """Return whether all images of rows are grey; False if all are in colour.

    Raises:
        ValueError: a row has no image, or there are both.
    """
    first: dict[bool, str] = {}
    for row, text in zip(rows["id"].to_pylist(), rows["text_a"].to_pylist(), strict=True):
        first.setdefault(_at(row, text, lambda each: is_grey(opened(each))), row)
    if len(first) > 1:
        raise ValueError(
            f"image {first[True]} is grey and image {first[False]} in colour; a task has one kind. Convert them"
        )
    return True in first


def _at(row: str, text: str | None, read: Any, **arguments: Any) -> Any:
    """Return what `read` makes of an image, or say in which row it is wrong."""
    if text is None:
        raise ValueError(f"row {row} has no image")
    try:
        return read(text, **arguments)
    except ValueError as error:
        raise ValueError(f"image {row}: {error}") from error
