"""Rows of local files, as the same kind of Arrow table as those of the hub (`hub`) and of images.

A table of rows has the columns id ("train-17": the part it comes from and its number, from 1 without the
header), text_a, text_b if rows are pairs, and label: strings, null where it is missing. Labels that the
hub declares as classes are a dictionary array, whose order is theirs.

Errors are the readers' own (OSError, ValueError, pyarrow.ArrowException): `loading` turns them into
messages for the user who named the source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from pipeline.study.classes import class_key
from pipeline.study.whole_file import whole_file
from pipeline.task.carve import test_rows
from pipeline.task.kinds import Kind
from pipeline.task.kinds.tables import TEXT_COLUMNS
from pipeline.task.readers import read_columns
from pipeline.task.spelling import as_strings
from pipeline.task.wholes import Whole

UNKNOWN = "?"  # label of rows that have none


@dataclass(frozen=True)
class FileSource:
    """A local file: its path, its columns, the delimiter if it is not its suffix's own."""

    path: Path
    text: tuple[str, ...]
    label: str | tuple[str, ...] | None  # None: the rows have none; several: columns of 0 and 1
    delimiter: str | None = None
    nested: bool = False  # values may be lists and objects

    way_out: ClassVar[str] = "Correct the file, or the task file."

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_here(self) -> bool:
        """Whether it is a file that can be read twice."""
        return self.path.is_file()

    def read(self, part: str) -> pa.Table:
        """Read the file's rows; their ids begin with `part`.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: as `readers.read_columns`.
        """
        return self.read_with_remarks(part)[0]

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the file's rows, and return remarks for the user on how they were read.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: as `readers.read_columns`.
        """
        columns = columns_of(self.text, self.label)
        table, remarks = read_columns(self.path, columns, self.delimiter, nested=self.nested)
        ids = [f"{part}-{number}" for number in range(1, table.num_rows + 1)]
        label = None if self.label is None else label_of(table, self.label)
        return assemble(ids, [table[name] for name in self.text], label, nested=self.nested), remarks


@dataclass(frozen=True)
class PartOfFile:
    """A part of a file whose task has no test file: the rows that are kept aside to test on, or all others.

    Which these are follows from the rows' own text and labels: it is the same for every seed and on every machine.
    """

    file: Whole
    aside: bool
    kind: type[Kind]

    way_out: ClassVar[str] = FileSource.way_out

    def __str__(self) -> str:
        return f"{self.file} ({'the part kept aside to test on' if self.aside else 'without its test part'})"

    @property
    def text(self) -> tuple[str, ...]:
        """The text columns."""
        return self.file.text

    @property
    def is_here(self) -> bool:
        """As `FileSource.is_here`."""
        return self.file.is_here

    def read(self, part: str) -> pa.Table:
        """Read the rows of the part, as `FileSource.read`; each keeps the number that it has in the file."""
        return self.read_with_remarks(part)[0]

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the rows of the part, as `FileSource.read_with_remarks`."""
        rows, remarks = self.file.read_with_remarks(part)
        aside = test_rows(self.kind.keys(rows), self.kind.written_strata(rows["label"].to_pylist()))
        if not aside.any():
            raise ValueError(
                f"its {rows.num_rows} rows are too few, or too alike, to keep some aside to test on"
            )
        remark = (
            f"The task has no test file: {aside.sum():,} of the {len(aside):,} rows of {self.file.path.name} are kept "
            "aside to test on."
        )
        return rows.filter(pa.array(aside == self.aside)).combine_chunks(), (*remarks, remark)


def columns_of(text: tuple[str, ...], label: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return all columns that are read."""
    return (*text, *([label] if isinstance(label, str) else label or ()))


def label_of(table: pa.Table, label: str | tuple[str, ...]) -> pa.ChunkedArray | pa.Array:
    """Return a column of labels; of columns of 0 and 1 the names of those that are 1, in JSON ({} for none).

    Raises:
        ValueError: a value is neither.
    """
    if isinstance(label, str):
        return table[label]
    found = []
    for row, values in enumerate(zip(*(table[name].to_pylist() for name in label), strict=True), start=1):
        there = [class_key(value or "") for value in values]
        for name, value in zip(label, there, strict=True):
            if value not in ("0", "1"):
                raise ValueError(f"row {row} has {value!r} in {name!r}; a column of a label has 0 or 1")
        names = [name for name, value in zip(label, there, strict=True) if value == "1"]
        found.append(json.dumps(names or {}))
    return pa.array(found, pa.string())


def assemble(
    ids: list[str],
    texts: list[pa.ChunkedArray],
    label: pa.ChunkedArray | pa.Array | None,
    *,
    nested: bool,
) -> pa.Table:
    """Return a table of rows: id, text_a, text_b if there are two texts, label; `nested`: lists become JSON."""
    columns = {"id": pa.array(ids, pa.string())}
    columns |= {
        name: as_strings(text, name, nested=nested) for name, text in zip(TEXT_COLUMNS, texts, strict=False)
    }
    if label is None:
        label = pa.array([UNKNOWN] * len(ids))
    columns["label"] = (
        label if pa.types.is_dictionary(label.type) else as_strings(label, "label", nested=nested)
    )
    return pa.table(columns)


def fingerprint(settings: Sequence[object], *tables: pa.Table) -> str:
    """Return the sha256, in hex, of settings that JSON can write and of all that the tables hold."""
    digest = sha256(json.dumps(settings).encode())
    for table in tables:
        for name in table.column_names:
            digest.update(json.dumps([name, table[name].to_pylist()]).encode())
    return digest.hexdigest()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow file, whole.

    Raises:
        OSError: the file cannot be written; what was there before is unchanged.
    """
    with (
        whole_file(path) as part,
        pa.OSFile(str(part), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)
