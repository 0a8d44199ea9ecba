"""Sources of rows: local files and the Hugging Face hub, each read into the same kind of Arrow table.

A table of rows has the columns id ("train-17": the part it comes from and its number, from 1 without the
header), text_a, text_b if rows are pairs, and label: strings, null where it is missing. Labels that the
hub declares as classes are a dictionary array, whose order is theirs.

Errors are the readers' own (OSError, ValueError, pyarrow.ArrowException): `loading` turns them into
messages for the user who named the source.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.classes import class_key
from pipeline.study.whole_file import whole_file
from pipeline.task.carve import test_rows
from pipeline.task.declared import named_lists
from pipeline.task.imagefiles import texts_of
from pipeline.task.kinds import Kind
from pipeline.task.kinds.base import TEXT_COLUMNS
from pipeline.task.readers import read_columns, require_columns
from pipeline.task.spelling import as_strings
from pipeline.task.wholes import Whole

HUB_BATCH_ROWS = 10_000
UNKNOWN = "?"  # label of rows that have none
NO_CLASS = -1  # the hub's mark for a row without a label


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
        return self.read_and_tell(part)[0]

    def read_and_tell(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the file's rows, and return remarks for the user on how they were read.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: as `readers.read_columns`.
        """
        columns = _columns(self.text, self.label)
        table, remarks = read_columns(self.path, columns, self.delimiter, nested=self.nested)
        ids = [f"{part}-{number}" for number in range(1, table.num_rows + 1)]
        label = None if self.label is None else _label(table, self.label)
        return _assemble(ids, [table[name] for name in self.text], label, nested=self.nested), remarks


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
        return self.read_and_tell(part)[0]

    def read_and_tell(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the rows of the part, as `FileSource.read_and_tell`."""
        rows, remarks = self.file.read_and_tell(part)
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


@dataclass(frozen=True)
class HubSource:
    """One split of a hub data set, or of a local folder laid out like one.

    `splits`: the first of them that is there and has labelled rows is read, and no other is opened
    before it. `row_number` names a column that numbers the rows; without one they are numbered from 1.
    """

    path: str
    config: str | None
    splits: tuple[str, ...]
    text: tuple[str, ...]
    label: str | tuple[str, ...] | None
    cache: Path
    row_number: str | None = None
    nested: bool = False

    is_here: ClassVar[bool] = False  # to look at it would fetch it

    way_out: ClassVar[str] = (
        "Check its name, its configuration (hf:NAME@CONFIG), its columns (--text, --label) and the network; "
        "or download its files and describe them by a task file."
    )

    def __str__(self) -> str:
        return f"{self.path}{'@' + self.config if self.config else ''} ({' or '.join(self.splits)})"

    def read(self, part: str) -> pa.Table:
        """Read the split's labelled rows; their ids begin with `part`.

        What came from the hub once is kept in `cache` and read from there: a study's rows stay the same.
        A local folder is read anew each time.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: if the data set, its configuration, a split or a
                column is not there, or the hub cannot be reached.
        """
        if Path(self.path).is_dir():
            return self._fetch(part)
        settings = [self.path, self.config, self.splits, self.text, self.label, self.row_number, part]
        settings += ["nested"] * self.nested
        kept = self.cache / f"hub-{fingerprint(settings)[:16]}.arrow"
        if not kept.is_file():
            write_table(kept, self._fetch(part))
        with kept.open("rb") as file:
            return pa.ipc.open_file(file).read_all()

    def read_and_tell(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Read the split's labelled rows, as `read`; there is nothing to tell."""
        return self.read(part), ()

    def _fetch(self, part: str) -> pa.Table:
        from datasets import load_dataset_builder

        with _library_errors():
            builder = load_dataset_builder(self.path, self.config)
        files = builder.config.data_files
        there = list(files or builder.info.splits or ())
        for split in (split for split in self.splits if split in there):
            # Streamed, because load_dataset would prepare all splits, test rows among them; and with no
            # other file in sight, because builders look for column types in the first one they see.
            builder.config.data_files = {split: files[split]} if files else files
            with _library_errors():
                stream = builder.as_streaming_dataset(split=split).with_format("arrow")
                table = pa.concat_tables(stream.iter(batch_size=HUB_BATCH_ROWS))
            rows = self._labelled(table, stream.features or {}, part)
            if rows.num_rows:
                return rows
        raise ValueError(
            f"it has no labelled rows in {' or '.join(self.splits)}; its splits are {', '.join(there)}"
        )

    def _labelled(self, table: pa.Table, features: Mapping[str, object], part: str) -> pa.Table:
        from datasets import ClassLabel, Image

        require_columns(_columns(self.text, self.label), table.column_names)
        for name in self.text:
            if isinstance(features.get(name), Image):
                images = pa.array(texts_of(table[name], Path(self.path)), pa.string())
                table = table.set_column(table.column_names.index(name), name, images)
        numbers = table[self.row_number].to_pylist() if self.row_number else range(1, table.num_rows + 1)
        ids = [f"{part}-{number}" for number in numbers]
        if self.label is None:
            return _assemble(ids, [table[name] for name in self.text], None, nested=self.nested)
        if not isinstance(self.label, str):
            strings = {name: as_strings(table[name], name) for name in self.label}
            label = _label(pa.table(strings), self.label)
            return _assemble(ids, [table[name] for name in self.text], label, nested=self.nested)
        label, declared = table[self.label].combine_chunks(), features.get(self.label)
        names = getattr(getattr(declared, "feature", None), "names", None)  # of a list of classes
        if self.nested and names:
            label = named_lists(pa.chunked_array([label]), list(names))
        if isinstance(declared, ClassLabel):
            codes = pc.if_else(pc.equal(label, NO_CLASS), None, label).cast(pa.int32())
            label = pa.DictionaryArray.from_arrays(codes, pa.array(declared.names))
        rows = _assemble(ids, [table[name] for name in self.text], label, nested=self.nested)
        if isinstance(declared, ClassLabel):
            return rows.filter(pc.is_valid(rows["label"]))
        hidden = {None, str(NO_CLASS)}  # every row of a split whose labels are hidden
        return rows.slice(0, 0) if {*pc.unique(rows["label"]).to_pylist()} <= hidden else rows


@contextmanager
def _library_errors() -> Iterator[None]:
    """Raise errors of the hub's libraries as OSError: what is below them (httpx, fsspec) has kinds of its own."""
    try:
        yield
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def _columns(text: tuple[str, ...], label: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (*text, *([label] if isinstance(label, str) else label or ()))


def _label(table: pa.Table, label: str | tuple[str, ...]) -> pa.ChunkedArray | pa.Array:
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


def _assemble(
    ids: list[str],
    texts: list[pa.ChunkedArray],
    label: pa.ChunkedArray | pa.Array | None,
    *,
    nested: bool,
) -> pa.Table:
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
