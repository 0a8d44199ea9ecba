"""Classes that a parquet file declares: its column has numbers, `datasets` notes their names in the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

FEATURES = b"huggingface"  # the key of the schema's metadata
NO_CLASS = "-1"  # the number of a row without a class


def declared_classes(metadata: Mapping[bytes, bytes] | None, columns: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the classes, in the order of their numbers, of those columns whose schema has them."""
    try:
        features = json.loads((metadata or {}).get(FEATURES, b""))["info"]["features"]
        found = {name: _names(features.get(name)) for name in columns}
    except (ValueError, KeyError, TypeError, AttributeError):  # none, or not as datasets writes it
        return {}
    return {name: names for name, names in found.items() if names}


def _names(feature: Any) -> list[str]:
    """Return the names of a ClassLabel, or of a list of such; else none."""
    if not isinstance(feature, dict):
        return []
    if feature.get("_type") != "ClassLabel":
        return _names(feature.get("feature"))
    names = feature.get("names")
    return [str(name) for name in names] if isinstance(names, list) else []


def named(numbers: pa.ChunkedArray, names: list[str], column: str) -> pa.DictionaryArray:
    """Return the classes whose numbers, from 0, a column of strings has; -1 and no number are none.

    Raises:
        ValueError: a number is that of no class.
    """
    places = {str(number): number for number in range(len(names))} | {NO_CLASS: None, None: None}
    codes = []
    for row, number in enumerate(numbers.to_pylist(), start=1):
        if number not in places:
            raise ValueError(
                f"row {row} has {number!r} in {column!r}, whose {len(names)} classes are numbered from 0"
            )
        codes.append(places[number])
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names))


def named_lists(lists: pa.ChunkedArray, names: list[str]) -> pa.Array:
    """Return lists of class numbers as lists of their names, in JSON.

    Raises:
        ValueError: a number is that of no class.
    """
    found = []
    for row, numbers in enumerate(lists.to_pylist(), start=1):
        if any(not 0 <= number < len(names) for number in numbers or ()):
            raise ValueError(f"row {row} has a number of none of the {len(names)} classes")
        found.append(None if numbers is None else json.dumps([names[number] for number in numbers]))
    return pa.array(found, pa.string())
