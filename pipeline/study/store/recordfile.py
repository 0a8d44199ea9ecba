"""A TrialRecord <-> two files in a folder: record.json (scalars) and record.npz (masks, predictions).

Files are written whole (`whole_file`). The arrays are written first and the JSON, which has their checksum, last:
if record.json exists, the record is complete. JSON here is Python's, with NaN and
Infinity. `format` counts up when a file changes in a way that older programs would misread.

Arrays that found another process's under their name (`written_once`) are record-XXXXXXXX.npz, by their checksum.

Shapes: P points, L layers, H heads, N neurons, V validation rows.
"""

from __future__ import annotations

import errno
import io
import json
import math
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pipeline.study.records import (
    Array,
    BadInput,
    BoolArray,
    HistoryRow,
    Kind,
    Masks,
    Measurement,
    Params,
    Point,
    Rung,
    State,
    TrialRecord,
)
from pipeline.study.store.objects import send
from pipeline.study.whole_file import write_whole

FORMAT = 1
JSON, ARRAYS = "record.json", "record.npz"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # of a full disk or a full quota
SQLITE_FULL = "database or disk is full"  # sqlite's message on such a disk

T = TypeVar("T")


class Damaged(BadInput):
    """A file of a store is not whole, or not what was written."""


@dataclass(frozen=True)
class StoredPoint:
    """A Point without its arrays."""

    kind: Kind
    round: int
    threshold: float
    measurement: Measurement


@dataclass(frozen=True)
class StoredRecord:
    """The content of record.json: a TrialRecord without arrays, and the sha256 of the file of the arrays."""

    number: int
    state: State
    reason: str
    params: Params
    seed: int
    points: tuple[StoredPoint, ...]
    history: tuple[HistoryRow, ...]
    epochs: float
    seconds: float
    attempts: int
    provenance: dict[str, str]
    arrays: str
    rungs: tuple[Rung, ...] = ()  # absent from records made before there was early stopping
    redundant: bool = False
    weights_of: tuple[
        str, ...
    ] = ()  # the attempts' folders with the trial's weights, the last one's first choice
    search: str = ""  # which search the study began with, as the record's process knew it


_RECORD = TypeAdapter(StoredRecord)
_SCALARS = [field.name for field in fields(TrialRecord) if field.name != "points"]
_MASKS = [field.name for field in fields(Masks)]


def save_record(folder: Path, record: TrialRecord) -> None:
    """Write a record, replacing an earlier one.

    Raises:
        OSError: the disk is full or gone; an earlier record may no longer be readable.
        ValueError: the points' predictions differ in length or type.
    """
    stored, arrays = encode(record)
    write_and_send(folder / ARRAYS, arrays)
    write_json(folder / JSON, stored)


def encode(
    record: TrialRecord, *, weights_of: tuple[str, ...] = (), search: str = ""
) -> tuple[StoredRecord, bytes]:
    """Return the content of both files of a record."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_pack(record.points))  # type: ignore[arg-type]  # savez has a keyword of its own
    arrays = buffer.getvalue()
    scalars = {name: getattr(record, name) for name in _SCALARS}
    points = tuple(StoredPoint(p.kind, p.round, p.threshold, p.measurement) for p in record.points)
    checksum = sha256(arrays).hexdigest()
    stored = StoredRecord(**scalars, points=points, arrays=checksum, weights_of=weights_of, search=search)
    return stored, arrays


def own_name(checksum: str) -> str:
    """Return the name of a record's arrays where another process's have the usual one."""
    return f"record-{checksum[:16]}.npz"


def load_record(folder: Path) -> TrialRecord:
    """Return the record in a folder.

    Raises:
        BadInput: there is no record, it is damaged, or a newer version wrote it.
    """
    stored = load_scalars(folder)
    own = folder / own_name(stored.arrays)
    path = own if own.is_file() else folder / ARRAYS
    try:
        data = _read(path)
    except BadInput as error:
        raise Damaged(str(error)) from error
    if sha256(data).hexdigest() != stored.arrays:
        raise _damaged(path, f"it is not the file that {JSON} was written with")
    unpacked = _unpack(data, len(stored.points))
    points = tuple(
        Point(p.kind, p.round, p.threshold, p.measurement, masks, predictions)
        for p, (masks, predictions) in zip(stored.points, unpacked, strict=True)
    )
    return TrialRecord(**{name: getattr(stored, name) for name in _SCALARS}, points=points)


def load_scalars(folder: Path) -> StoredRecord:
    """Return the record in a folder without masks and predictions, which is quicker.

    Raises:
        BadInput: there is no record, it is damaged, or a newer version wrote it.
    """
    return read_json(folder / JSON, _RECORD)


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass with its format number."""
    write_and_send(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return the content of a JSON file with its format number."""
    text = json.dumps({"format": FORMAT} | asdict(value), default=_as_python, ensure_ascii=False)
    # a message from the operating system may have a lone surrogate, which UTF-8 cannot encode
    return text.encode("utf-8", errors="replace")


def read_json(path: Path, reader: TypeAdapter[T]) -> T:
    """Return a dataclass that `write_json` wrote.

    Raises:
        BadInput: there is no such file, it is damaged, or a newer version wrote it.
    """
    try:
        document = json.loads(_read(path))
        written = int(document.pop("format"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise _damaged(path, str(error)) from error
    if written > FORMAT:
        raise BadInput(
            f"{path} has format {written}, and this prunefront knows up to {FORMAT}. Install a newer one."
        )
    try:
        return reader.validate_python(document)
    except ValidationError as error:
        raise _damaged(path, "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors()[:3])) from error


def write_and_send(path: Path, data: bytes) -> None:
    """Write a file of a store whole, and send it to the store's bucket if it has one.

    Raises:
        OSError: the file cannot be written; what was there before is unchanged.
    """
    write_whole(path, data)
    send(path)


def _pack(points: tuple[Point, ...]) -> dict[str, Array]:
    """Return masks as bits, each with its shape [P, ...], and predictions [P, V]; empty without points."""
    if not points:
        return {}
    predictions = [point.predictions for point in points]
    kinds = {(values.dtype, values.shape) for values in predictions}
    if len(kinds) > 1 or predictions[0].dtype.hasobject:
        raise ValueError(
            f"All points of a trial predict the same rows, as numbers of one type; given: {kinds}."
        )
    packed: dict[str, Array] = {"predictions": np.stack(predictions)}
    for name in _MASKS:
        stacked = np.stack([getattr(point.masks, name) for point in points])
        packed[name] = np.packbits(stacked)
        packed[f"{name}_shape"] = np.array(stacked.shape)
    return packed


def _unpack(data: bytes, points: int) -> list[tuple[Masks, Array]]:
    """Return masks and predictions of every point."""
    if not points:
        return []
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        masks = {name: _bits(arrays[name], tuple(arrays[f"{name}_shape"].tolist())) for name in _MASKS}
        predictions = arrays["predictions"]
    return [(Masks(**{name: masks[name][i] for name in _MASKS}), predictions[i]) for i in range(points)]


def _bits(packed: Array, shape: tuple[int, ...]) -> BoolArray:
    return np.unpackbits(packed.astype(np.uint8), count=math.prod(shape)).astype(bool).reshape(shape)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}. Is the name right, and has the trial ended?"
        ) from error


def _damaged(path: Path, how: str) -> Damaged:
    return Damaged(f"A store's files are whole; {path} is damaged: {how}. Restore it from a copy.")


def _as_python(value: Any) -> Any:
    """Convert numpy's scalars, which a metric may be, to Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"JSON holds numbers, texts and true or false; given was {type(value).__name__}.")
