"""Values of every format in one spelling: whole numbers look like whole numbers, lists and objects become JSON."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2**53  # floats below it that are whole are one integer


def as_string(value: Any, place: str, name: str, *, nested: bool = False) -> str | None:
    """Return a value as a string.

    Raises:
        ValueError: it is none; `place` and the column's `name` are in the message.
    """
    if nested and isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{place} has bytes in {name!r} that are not UTF-8") from error
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError(f"{place} has half a surrogate pair in {name!r}, which is no text")
        return value
    if isinstance(value, float):
        return str(int(value)) if abs(value) < EXACT and value.is_integer() else repr(value)
    if isinstance(value, dict | list | tuple):
        kind = "an object" if isinstance(value, dict) else f"a list of {len(value)}"
        raise ValueError(f"{place} has {kind} in {name!r}; a text or a label is one value")
    return str(value)


def as_strings(
    column: pa.ChunkedArray | pa.Array, name: str, *, nested: bool = False
) -> pa.ChunkedArray | pa.Array:
    """Return the values as strings; whole numbers look like whole numbers, also where they came as floats."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_dictionary(kind):
        return as_strings(column.cast(kind.value_type), name)
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float32() if pa.types.is_float16(kind) else kind)
        whole = pc.and_(pc.equal(numbers, pc.round(numbers)), pc.less(pc.abs(numbers), float(EXACT)))
        return (numbers.cast(pa.int64()) if pc.all(whole).as_py() else numbers).cast(pa.string())
    if pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string())
    values = (
        as_string(value, f"row {row}", name, nested=nested)
        for row, value in enumerate(column.to_pylist(), start=1)
    )
    return pa.chunked_array([pa.array(values, pa.string())])
