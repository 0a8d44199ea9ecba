"""Tokenised rows in Arrow, and the padded batches they are read in.

Rows stay in one flat buffer of token ids with offsets: a Split that comes out of Ray's object store is
read without a copy. Batches hold rows of similar length, so that little of a batch is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.task.tokens import CUT, LIMIT

IntArray = npt.NDArray[np.int64]

# Rows are shuffled, then sorted by length inside pools of this many batches: random enough for SGD,
# and the padding share falls from about a third to 3 % (SST-2, batches of 16 to 64).
POOL_BATCHES = 50
NO_LABEL = -100  # of a token that has none: what torch's losses leave out

# input_ids, attention_mask, (token_type_ids,) or pixel_values; labels, rows, (MASK)
Batch = dict[str, Tensor]
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")  # of the encoder
ALIGNED = 16  # bytes: where the tensors of a packed batch begin
MASK = "made_mask"  # what the forward pass is given for `attention_mask`; empty: none (`attention_masks`)


@dataclass(frozen=True)
class TaskData:
    """The tokenised rows of a task. `test` is None while a search runs: it never opens test data."""

    train: Split
    calibration: Split
    validation: Split
    test: Split | None = None


@dataclass(frozen=True)
class Split:
    """Rows of one part of a task.

    `table` has the columns id (string), input_ids (list<int32>), optionally token_type_ids
    (list<int8>), and label (int64, or float32 for a regression). Its columns have one chunk each.
    """

    table: pa.Table
    pad_token_id: int
    # every batch's length is one of this, up to the limit at which rows are cut
    multiple: int = field(default=1, kw_only=True)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def cut(self) -> int:
        """How many rows were longer than the limit, and were cut; of a part of a split: of the whole."""
        return int((self.table.schema.metadata or {}).get(CUT, 0))

    @property
    def limit(self) -> int:
        """The tokens at which rows are cut; 0 if that is not known."""
        return int((self.table.schema.metadata or {}).get(LIMIT, 0))

    @cached_property
    def ids(self) -> list[str]:
        """The stable id of every row."""
        return [str(row) for row in self.table["id"].to_pylist()]

    @cached_property
    def labels(self) -> npt.NDArray[np.generic]:
        """Label of every row: numbers [R], or lists of one length [R, C]; lists with an entry per token are batched."""
        column = self.table["label"].combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            return np.asarray(column.flatten().to_numpy()).reshape(len(column), -1)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    @cached_property
    def _offsets(self) -> IntArray:
        column = self.table["input_ids"].combine_chunks()
        return np.asarray(column.offsets.to_numpy(), dtype=np.int64)

    def _flat(self, name: str) -> npt.NDArray[np.generic]:
        # .values is the whole child array: offsets index into it also when the table is a slice
        return np.asarray(self.table[name].combine_chunks().values.to_numpy())

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        names = [name for name in ("input_ids", "token_type_ids") if name in self.table.column_names]
        return {name: self._flat(name) for name in [*names, *["label"] * self.labels_tokens]}

    @cached_property
    def labels_tokens(self) -> bool:
        """Whether a row's label is a list with an entry per token."""
        return bool(pa.types.is_list(self.table.schema.field("label").type))

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of every row."""
        return np.diff(self._offsets)

    def with_labels(self, labels: npt.NDArray[np.generic]) -> Split:
        """Return the rows with these classes [R], or vectors [R, C], as their labels."""
        if labels.ndim > 1:
            flat = pa.array(np.ascontiguousarray(labels, np.float32).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, labels.shape[1])
        else:
            column = pa.array(np.asarray(labels, np.int64))
        table = self.table.set_column(self.table.column_names.index("label"), "label", column)
        return replace(self, table=table)

    def words(self, size: int) -> npt.NDArray[np.bool_]:
        """Return which of the tokenizer's `size` token numbers occur in a row, padding included."""
        found = np.zeros(size, bool)
        found[self._columns["input_ids"][self._offsets[0] : self._offsets[-1]]] = True
        found[self.pad_token_id] = True
        return found

    def take(self, rows: IntArray) -> Split:
        """Return the given rows, in that order."""
        return replace(self, table=self.table.take(pa.array(rows)).combine_chunks())

    def collate(self, rows: IntArray) -> Batch:
        """Return the given rows as one batch [B, T], padded on the right to the longest of them, or a multiple."""
        starts, ends = self._offsets[rows], self._offsets[rows + 1]
        longest = int((ends - starts).max())
        rounded = -(-longest // self.multiple) * self.multiple
        length = min(rounded, max(longest, self.limit)) if self.limit else rounded
        places = starts[:, None] + np.arange(length)
        real = places < ends[:, None]
        np.minimum(places, self._offsets[-1] - 1, out=places)  # what padding reads is there, and replaced
        batch: Batch = {}
        for name, values in self._columns.items():
            padded = values[places].astype(np.int64)
            padded[~real] = {"input_ids": self.pad_token_id, "label": NO_LABEL}.get(name, 0)
            batch[name] = torch.from_numpy(padded)
        batch["attention_mask"] = torch.from_numpy(real.astype(np.int64))
        batch["labels"] = batch.pop("label") if self.labels_tokens else torch.from_numpy(self.labels[rows])
        batch["rows"] = torch.from_numpy(rows)
        if self.units is not None:
            batch["unit"] = torch.from_numpy(self.units[rows])
        return batch

    @cached_property
    def units(self) -> IntArray | None:
        """The number of what a row is a part of (a query, a question), rising; None if rows stand alone."""
        if "unit" not in self.table.column_names:
            return None
        return np.asarray(self.table["unit"].to_numpy(), dtype=np.int64)

    def training_order(self, batch_size: int, *, seed: int) -> list[IntArray]:
        """Return the rows of each batch of one epoch: shuffled, grouped by length, batches in random order.

        Parts of a whole (a query's passages) stand in one batch, as far as it holds them: grouped by the longest one.
        """
        generator = np.random.default_rng(seed)
        shuffled, lengths = generator.permutation(len(self)), self.lengths
        whole = np.zeros(len(self), np.int64)
        if self.units is not None:
            whole = generator.permutation(int(self.units.max()) + 1)[self.units]
            shuffled = np.argsort(whole, kind="stable")
            longest = np.zeros(int(self.units.max()) + 1, np.int64)
            np.maximum.at(longest, self.units, lengths)
            lengths = longest[self.units]
        pool = batch_size * POOL_BATCHES
        batches: list[IntArray] = []
        for start in range(0, len(self), pool):
            rows = shuffled[start : start + pool]
            rows = rows[np.lexsort((whole[rows], lengths[rows]))]
            batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        return [batches[i] for i in generator.permutation(len(batches))]

    def in_length_order(self, batch_size: int) -> Iterator[Batch]:
        """Iterate over every row once, sorted by length, for evaluation; `rows` has their numbers."""
        rows = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(rows), batch_size):
            yield self.collate(rows[start : start + batch_size])


@final
class Feed:
    """Training batches by their place in a stream, on a device.

    For a GPU the next one is made and copied by a thread, on a stream of its own, while the step at hand is being
    launched. For a CPU each is made on demand: another thread would take the step's core.
    """

    def __init__(self, make: Callable[[int], Batch], device: torch.device, *, ahead: bool) -> None:
        """Take `make`, which returns the batch of a place; `ahead`: in a thread, one before it is needed."""
        self._make, self._device = make, device
        self._worker = ThreadPoolExecutor(1) if ahead else None
        self._stream = None if device.type != "cuda" else torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._next: tuple[int, Future[Batch]] | None = None

    def get(self, place: int, *, last: int) -> Batch:
        """Return the batch of a place; the next one is prepared meanwhile, unless this is the last."""
        if self._worker is None:
            return self._made(place)
        if self._next is None or self._next[0] != place:
            self._next = place, self._worker.submit(self._made, place)
        batch = self._next[1].result()
        if self._stream is not None:
            now = torch.cuda.current_stream(self._device)
            now.wait_stream(self._stream)
            # their one memory is not reused before the step has read it
            next(iter(batch.values())).record_stream(now)
        self._next = (place + 1, self._worker.submit(self._made, place + 1)) if place < last else None
        return batch

    def close(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)

    def _made(self, place: int) -> Batch:
        batch = self._make(place)
        if self._worker is None:
            return batch
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            return packed(batch, self._device)


def packed(batch: Batch, device: torch.device) -> Batch:
    """Return a batch of the CPU on a device, by one copy: its tensors are parts of one buffer there."""
    starts = np.cumsum([0, *(-(-each.nbytes // ALIGNED) * ALIGNED for each in batch.values())]).tolist()
    places = dict(zip(batch, starts[:-1], strict=True))
    buffer = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    for name, value in batch.items():
        _part(buffer, places[name], value).copy_(value)
    moved = buffer.to(device, non_blocking=True)
    return {name: _part(moved, places[name], value) for name, value in batch.items()}


def _part(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    return buffer[start : start + like.nbytes].view(like.dtype).view(like.shape)


def copy_batch(batch: Batch, to: Batch) -> None:
    """Copy a batch into the place of one of the same shapes, at once if both are packed."""
    whole, place = _buffer(batch), _buffer(to)
    if whole is not None and place is not None and len(whole) == len(place):
        place.copy_(whole)
        return
    for name, value in batch.items():
        to[name].copy_(value, non_blocking=True)


def _buffer(batch: Batch) -> Tensor | None:
    """Return the bytes that all tensors of a batch lie in; None if they do not lie in one place."""
    first, *others = (each.untyped_storage() for each in batch.values())
    if any(each.data_ptr() != first.data_ptr() for each in others):
        return None
    return torch.empty(0, dtype=torch.uint8, device=first.device).set_(first)


def encoder_inputs(batch: Batch) -> Batch:
    """Return the inputs of the encoder's forward pass in a batch."""
    found = {name: batch[name] for name in INPUTS if name in batch}
    if MASK in batch:
        found["attention_mask"] = batch[MASK]
    return {name: value for name, value in found.items() if value.numel()}


def real_tokens(batch: Batch, hidden: Tensor) -> Tensor:
    """Return which tokens of hidden states [B, T, ...] are no padding, bool [B, T]: of images, all."""
    if "attention_mask" in batch:
        return batch["attention_mask"].bool()
    return torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)


def batch_parts(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into `parts` of nearly equal rows, or into its single rows if it has fewer."""
    rows = len(batch["labels"])
    pieces = {name: value.tensor_split(min(parts, rows)) for name, value in batch.items()}
    return [{name: pieces[name][i] for name in pieces} for i in range(min(parts, rows))]
