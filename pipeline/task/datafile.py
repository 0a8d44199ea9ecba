"""A file of rows, or a folder with train and test files, as a task: its columns are found by their usual names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput
from pipeline.task.encodings import text_of
from pipeline.task.readers import (
    DELIMITERS,
    GUESSED,
    HEADER_CHARACTERS,
    JSON_LINES,
    OBJECTS,
    SUFFIXES,
    content_of,
    kind_of,
)
from pipeline.task.usual import Usual

USUAL = Usual()
HEADER_ROWS = 100  # of json lines: a row may leave out what is null
VALIDATION, TEST = ("validation", "valid", "val", "dev"), ("test",)


@dataclass(frozen=True)
class Columns:
    """The columns that are used: texts, and the label if there is one."""

    text: tuple[str, ...]
    label: str | tuple[str, ...] | None
    remarks: tuple[str, ...]  # what was found by name


@dataclass(frozen=True)
class DataFile:
    """Where the rows are, and the columns that are used."""

    train: Path
    validation: Path | None
    test: Path | None
    text: tuple[str, ...]
    label: str | tuple[str, ...] | None
    remarks: tuple[str, ...]  # what was found by name


def is_data(path: Path) -> bool:
    """Return whether a path is that of rows: a folder, or a file with the suffix of a known format."""
    return path.is_dir() or kind_of(path) in (*SUFFIXES, *JSON_LINES, *OBJECTS)


def look_into(
    path: Path,
    *,
    text: tuple[str, ...],
    label: str | tuple[str, ...] | None,
    labelled: bool,
    usual: Usual = USUAL,
) -> DataFile:
    """Return the files of a path and the columns of its training rows; no other row is read.

    Args:
        path: a file, or a folder with train.*, and perhaps validation.* and test.*.
        text: the text columns; empty to find them.
        label: the label column, or several of 0 and 1; None to find it.
        labelled: whether a label is wanted.
        usual: the usual names of columns.

    Raises:
        BadInput: a file or a column is missing, or cannot be distinguished from others.
    """
    train, validation, test = _files(path)
    there = _columns_in(train)
    found = find_columns(str(train), there, text=text, label=label, labelled=labelled, usual=usual)
    return DataFile(train, validation, test, found.text, found.label, found.remarks)


def check_columns(path: Path, names: Sequence[str]) -> None:
    """Refuse a path without rows, or whose training rows have not the columns of these names; no other row is read.

    Raises:
        BadInput: a file or a column is missing.
    """
    train, _, _ = _files(path)
    _require(str(train), _columns_in(train), names)


def find_columns(
    where: str,
    there: list[str],
    *,
    text: tuple[str, ...],
    label: str | tuple[str, ...] | None,
    labelled: bool,
    usual: Usual = USUAL,
) -> Columns:
    """Return which of the columns that are `there` are used; the other arguments as of `look_into`.

    Raises:
        BadInput: a column is missing, or cannot be distinguished from others; `where` they are is in the message.
    """
    _require(where, there, (*text, *((label,) if isinstance(label, str) else label or ())))
    found_label = label if label or not labelled else _label(where, there, text, usual)
    labels = (found_label,) if isinstance(found_label, str) else found_label or ()
    found_text = text or _texts(where, [name for name in there if name not in labels], usual)
    said = f"text is {' and '.join(found_text)}" + (f", label is {' and '.join(labels)}" if labels else "")
    remark = f"{where.rpartition('/')[2]}: {said} (of {', '.join(there)})."
    return Columns(found_text, found_label, () if text and (label or not labelled) else (remark,))


def _beside(path: Path) -> list[str]:
    """Return the names of data beside a path that is none."""
    try:
        return sorted(each.name for each in path.parent.iterdir() if is_data(each))
    except OSError:
        return []


def _files(path: Path) -> tuple[Path, Path | None, Path | None]:
    if not path.exists():
        raise BadInput(f"There is no file or folder {path}.{did_you_mean(path.name, _beside(path))}")
    if path.is_file():
        return path, None, None
    train = _one(path, ("train",))
    if train is None:
        raise BadInput(
            f"{path} has no file train.csv, .tsv, .jsonl or .parquet (.gz or .zst of each). Call one so, or name a "
            "file."
        )
    return train, _one(path, VALIDATION), _one(path, TEST)


def _one(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """Return the folder's file of a part; None if there is none."""
    found = sorted(
        each
        for each in folder.iterdir()
        if each.name.partition(".")[0].lower() in stems
        and kind_of(each) in (*SUFFIXES, *JSON_LINES, *OBJECTS)
    )
    if len(found) > 1:
        raise BadInput(
            f"{folder} has {' and '.join(each.name for each in found)}. Keep one of them, or write a task file."
        )
    return found[0] if found else None


def _require(where: str, there: Sequence[str], names: Sequence[str]) -> None:
    for name in names:
        if there.count(name) != 1:
            raise BadInput(
                f"{where} has no column {name!r}.{did_you_mean(name, there)} It has: {', '.join(there)}."
            )


def _columns_in(path: Path) -> list[str]:
    try:
        there = _header(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from error
    if not there:
        raise BadInput(f"{path} is empty: it has no column.")
    return there


def _header(path: Path) -> list[str]:
    """Return a file's columns."""
    kind = kind_of(path)
    if kind in OBJECTS:
        rows = OBJECTS[kind](text_of(content_of(path)))
        return list(dict.fromkeys(name for row in rows for name in row))
    if kind == ".parquet":
        return list(pa.parquet.read_schema(pa.BufferReader(content_of(path))).names)
    text = text_of(content_of(path))
    if kind in JSON_LINES:
        # at "\n" alone, as rows are read: a text may have other breaks of lines in it (U+2028)
        rows = [json.loads(line) for line in islice(filter(str.strip, text.split("\n")), HEADER_ROWS)]
        return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    headers = [_split(text, delimiter) for delimiter in (DELIMITERS[kind], *GUESSED)]
    return headers[0] if len(headers[0]) > 1 else max(headers, key=len)


def _split(text: str, delimiter: str) -> list[str]:
    lines = csv.reader(io.StringIO(text[:HEADER_CHARACTERS], newline=""), delimiter=delimiter)
    return next((line for line in lines if line), [])


def _label(where: str, there: list[str], text: tuple[str, ...], usual: Usual) -> str:
    free = {name.lower(): name for name in there if name not in text}
    found = [free[name] for name in usual.labels if name in free]
    if found:
        return found[0]
    raise BadInput(f"Which column of {where} is the label? It has: {', '.join(there)}. Name it by --label.")


def _texts(where: str, there: list[str], usual: Usual) -> tuple[str, ...]:
    known = {name.lower(): name for name in there}
    for first, second in usual.pairs:
        if first in known and second in known:
            return known[first], known[second]
    found = [known[name] for name in usual.texts if name in known]
    if found:
        return (found[0],)
    if len(there) == 1:
        return (there[0],)
    raise BadInput(
        f"Which column of {where} is the text? It has: {', '.join(there)}. Name it by --text; twice for pairs."
    )
