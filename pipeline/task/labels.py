"""From label strings to what a network learns: class numbers, or values.

One law for all formats: white space around a label is not part of it, and equal numbers and booleans are one class
however they are spelled (`0`, `0.0`, `False`). Rows are counted from 1, without a file's header, wherever a message
names one.
"""

from __future__ import annotations

from math import nan

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.classes import INTEGER, LONGEST_NUMBER, class_key

# What spreadsheets, pandas and databases leave where nothing was.
SPACE = r"[\s\x0b\x1c-\x1f\x{85}\pZ\x{200b}\x{feff}]*"  # with those of Unicode, which RE2's \s has not
NO_LABEL = rf"(?i)^{SPACE}(nan)?{SPACE}$"
NO_TEXT = rf"(?i)^{SPACE}(nan|null)?{SPACE}$"
SHOWN_CHARACTERS, SHOWN_NAMES = 60, 20  # of labels in a message
BoolArray = npt.NDArray[np.bool_]
LARGEST = float(np.finfo(np.float32).max)  # of a value to predict
HIDDEN = "-1"  # the label of a row whose label is hidden


def missing(rows: pa.Table, name: str) -> BoolArray:
    """Return which rows [R] lack a text or a label: null, empty, white space, nan; of texts also the word null."""
    column = rows[name]
    found = pc.is_null(column)
    if pa.types.is_string(column.type):
        pattern = NO_LABEL if name == "label" else NO_TEXT
        found = pc.or_kleene(found, pc.match_substring_regex(column, pattern))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def without_empty_texts(rows: pa.Table) -> tuple[pa.Table, int]:
    """Return the rows that have their texts, and how many have not."""
    empty = np.zeros(rows.num_rows, dtype=bool)
    for name in rows.column_names:
        if name.startswith("text_"):
            empty |= missing(rows, name)
    return rows.filter(pa.array(~empty)), int(empty.sum())


def labelled(rows: pa.Table, names: tuple[str, ...]) -> tuple[pa.Table, int]:
    """Return the rows that have a label, and how many have none: -1 is none where it is no class.

    `names`: the classes; none of a regression, where -1 is a value unless all rows have it.
    """
    hidden = missing(rows, "label")
    shown = np.array(
        [class_key(label or "") != HIDDEN for label in _decoded(rows["label"]).to_pylist()], bool
    )
    if HIDDEN not in {class_key(name) for name in names} and (names or not (shown & ~hidden).any()):
        hidden |= ~shown
    return rows.filter(pa.array(~hidden)), int(hidden.sum())


def require_whole(rows: pa.Table) -> None:
    """Check that every row has its texts and its label.

    Raises:
        ValueError: there are no rows, or some lack a text or a label: how many, and the first.
    """
    if not rows.num_rows:
        raise ValueError("it has no rows")
    for name in rows.column_names:
        numbers = np.flatnonzero(missing(rows, name))
        if len(numbers):
            what = name.partition("_")[0]
            first = _place(rows["id"] if "id" in rows.column_names else None, numbers[0])
            out = "; --drop-empty leaves such rows out" if what == "text" else ""
            raise ValueError(f"{_count(numbers)} no {what}; the first is row {first}{out}")


def alike(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a sentence on each group of classes whose names differ in case and white space alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("".join(name.casefold().split()), []).append(name)
    return tuple(
        f"{' and '.join(map(repr, group))} differ in case or white space alone; they are {len(group)} classes."
        for group in groups.values()
        if len(group) > 1
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
        raise ValueError(f"all rows have the label {_shown(names[0])}: it needs two classes or more")
    if 2 * len(names) > len(labels):
        raise ValueError(
            f"{len(labels)} rows have {len(names)} different labels, and a class needs two rows or more (for numbers "
            'to predict give --kind regression, or kind = "regression" in a task file)'
        )
    return tuple(names)


def class_numbers(
    labels: pa.ChunkedArray, names: tuple[str, ...], ids: pa.ChunkedArray | None = None
) -> pa.ChunkedArray:
    """Return the index in `names` of every label, int64; a message numbers the rows by `ids`.

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
            f"{_count(unknown)} a class that train has not ({_listed(names)}); the first is row "
            f"{_place(ids, unknown[0])} with {_shown(_decoded(labels)[unknown[0]].as_py())}"
        )
    return pa.chunked_array([numbers]) if isinstance(numbers, pa.Array) else numbers


def _one_spelling(spellings: list[str]) -> list[str]:
    """Return a name for each class: its shortest spelling, and of those as long the first in order."""
    chosen: dict[str, str] = {}
    for name in sorted({spelling.strip() for spelling in spellings}, key=lambda name: (len(name), name)):
        chosen.setdefault(class_key(name), name)
    return list(chosen.values())


def values(labels: pa.ChunkedArray, ids: pa.ChunkedArray | None = None) -> pa.ChunkedArray:
    """Return the labels as numbers, float32; a message numbers the rows by `ids`.

    Raises:
        ValueError: some are no finite numbers: how many, and the first.
    """
    texts = _decoded(labels).to_pylist()
    numbers = np.array([_number(text) for text in texts], dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(
            f"{_count(bad)} a label that is no number; the first is row {_place(ids, bad[0])} with "
            f"{_shown(texts[bad[0]])}"
        )
    return pa.chunked_array([pa.array(numbers)])


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return nan
    return number if abs(number) <= LARGEST else nan


def _decoded(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    return labels.cast(pa.string())


def _place(ids: pa.ChunkedArray | None, index: int | np.int64) -> str:
    """Return the number of a row in its file, from 1 without the header: its id ends with it."""
    return str(index + 1) if ids is None else str(ids[int(index)].as_py()).rpartition("-")[2]


def _shown(label: str) -> str:
    return repr(label if len(label) <= SHOWN_CHARACTERS else f"{label[:SHOWN_CHARACTERS]}…")


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(name[:SHOWN_CHARACTERS] for name in names[:SHOWN_NAMES]) + more


def _count(rows: npt.NDArray[np.int64]) -> str:
    return "1 row has" if len(rows) == 1 else f"{len(rows)} rows have"
