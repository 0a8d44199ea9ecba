"""From label strings to what a network learns: class numbers, or values.

One law for all formats: white space around a label is not part of it, and equal numbers and booleans are one class
however they are spelled (`0`, `0.0`, `False`). Rows are counted from 1, without a file's header, wherever a message
names one.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.classes import INTEGER, LONGEST_NUMBER, class_key

MISSING = r"(?i)^\s*(nan)?\s*$"  # what spreadsheets and pandas leave where nothing was


def require_whole(rows: pa.Table) -> None:
    """Check that every row has its texts and its label.

    Raises:
        ValueError: there are no rows, or some lack a text or a label: how many, and the first.
    """
    if not rows.num_rows:
        raise ValueError("it has no rows")
    for name in rows.column_names:
        missing = pc.is_null(rows[name])
        if name == "label" and pa.types.is_string(rows[name].type):
            missing = pc.or_kleene(missing, pc.match_substring_regex(rows[name], MISSING))
        numbers = np.flatnonzero(missing.to_numpy())
        if len(numbers):
            raise ValueError(
                f"{_count(numbers)} no {name.partition('_')[0]}; the first is row {numbers[0] + 1}"
            )


def class_names(labels: pa.ChunkedArray) -> tuple[str, ...]:
    """Return the classes: in their declared order (dictionary arrays), as numbers, or by name.

    Raises:
        ValueError: there is only one class, or a class for nearly every row.
    """
    names = _one_spelling([str(name) for name in pc.unique(_decoded(labels)).to_pylist()])
    if pa.types.is_dictionary(labels.type):
        declared = [class_key(str(name)) for name in labels.combine_chunks().dictionary.to_pylist()]
        names.sort(key=lambda name: declared.index(class_key(name)))
    elif all(INTEGER.fullmatch(name) and len(name) <= LONGEST_NUMBER for name in names):
        names.sort(key=lambda name: (int(name), name))
    else:
        names.sort()
    if len(names) == 1:
        raise ValueError(f"it needs two classes or more; all rows have the label {names[0]!r}")
    if 2 * len(names) > len(labels):
        raise ValueError(
            f"it needs two rows or more for a class; {len(labels)} rows have {len(names)} different labels "
            "(numbers to predict need the metric pearson_spearman)"
        )
    return tuple(names)


def class_numbers(labels: pa.ChunkedArray, names: tuple[str, ...]) -> pa.ChunkedArray:
    """Return the index in `names` of every label, int64.

    Raises:
        ValueError: some labels are not among the names: how many, and the first.
    """
    spelled = pc.unique(_decoded(labels))
    place = {class_key(name): number for number, name in enumerate(names)}
    of_spelling = pa.array([place.get(class_key(each)) for each in spelled.to_pylist()], pa.int64())
    numbers = pc.take(of_spelling, pc.index_in(_decoded(labels), value_set=spelled))
    unknown = np.flatnonzero(numbers.is_null().to_numpy())
    if len(unknown):
        raise ValueError(
            f"{_count(unknown)} a class that train has not ({', '.join(names)}); the first is row "
            f"{unknown[0] + 1} with {_decoded(labels)[unknown[0]].as_py()!r}"
        )
    return pa.chunked_array([numbers]) if isinstance(numbers, pa.Array) else numbers


def _one_spelling(spellings: list[str]) -> list[str]:
    """Return a name for each class: its shortest spelling, and of those as long the first in order."""
    chosen: dict[str, str] = {}
    for name in sorted({spelling.strip() for spelling in spellings}, key=lambda name: (len(name), name)):
        chosen.setdefault(class_key(name), name)
    return list(chosen.values())


def values(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the labels as numbers, float32.

    Raises:
        ValueError: some are no finite numbers: how many, and the first.
    """
    texts = _decoded(labels).to_pylist()
    numbers = np.array([_number(text) for text in texts], dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(
            f"{_count(bad)} a label that is no number; the first is row {bad[0] + 1} with {texts[bad[0]]!r}"
        )
    return pa.chunked_array([pa.array(numbers)])


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return float("nan")
    return number if isfinite(number) else float("nan")


def _decoded(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    return labels.cast(pa.string())


def _count(rows: npt.NDArray[np.int64]) -> str:
    return "1 row has" if len(rows) == 1 else f"{len(rows)} rows have"
