"""Sources of rows: local files and the Hugging Face hub, each read into the same kind of Arrow table.

A table of rows has the columns id ("train-17": the part it comes from and its number, from 1 without the
header), text_a, text_b if rows are pairs, and label: strings, null where it is missing. Labels that the
hub declares as classes are a dictionary array, whose order is theirs.

Errors are the readers' own (OSError, ValueError, pyarrow.ArrowException): `loading` turns them into
messages for the user who named the source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.study.whole_file import whole_file

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet")
TEXT_COLUMNS = ("text_a", "text_b")
HUB_BATCH_ROWS = 10_000
NO_CLASS = -1  # the hub's mark for a row without a label


@dataclass(frozen=True)
class FileSource:
    """A local file: its path, its columns, the delimiter if it is not its suffix's own."""

    path: Path
    text: tuple[str, ...]
    label: str
    delimiter: str | None = None

    way_out: ClassVar[str] = "Correct the file, or the task file."

    def __str__(self) -> str:
        return str(self.path)

    def read(self, part: str) -> pa.Table:
        """Read the file's rows; their ids begin with `part`.

        A tsv is read without quoting: a quote character is text.

        Raises:
            OSError, ValueError, pyarrow.ArrowException: if the file cannot be read, lacks a column, or its
                suffix is none of SUFFIXES.
        """
        columns = (*self.text, self.label)
        suffix = self.path.suffix.lower()
        if suffix in DELIMITERS:
            table = _read_delimited(
                self.path, columns, self.delimiter or DELIMITERS[suffix], suffix == ".csv"
            )
        elif suffix == ".jsonl":
            table = _read_jsonl(self.path, columns)
        elif suffix == ".parquet":
            with self.path.open("rb") as file:
                parquet = pa.parquet.ParquetFile(file)
                _require(columns, parquet.schema_arrow.names)
                table = parquet.read(columns=list(columns))
        else:
            raise ValueError(f"the suffix {suffix!r} is none of {', '.join(SUFFIXES)}")
        ids = [f"{part}-{number}" for number in range(1, table.num_rows + 1)]
        return _assemble(ids, [table[name] for name in self.text], table[self.label])


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
    label: str
    cache: Path
    row_number: str | None = None

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
        kept = self.cache / f"hub-{fingerprint(settings)[:16]}.arrow"
        if not kept.is_file():
            write_table(kept, self._fetch(part))
        with kept.open("rb") as file:
            return pa.ipc.open_file(file).read_all()

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
        from datasets import ClassLabel

        _require((*self.text, self.label), table.column_names)
        label, declared = table[self.label].combine_chunks(), features.get(self.label)
        if isinstance(declared, ClassLabel):
            codes = pc.if_else(pc.equal(label, NO_CLASS), None, label).cast(pa.int32())
            label = pa.DictionaryArray.from_arrays(codes, pa.array(declared.names))
        numbers = table[self.row_number].to_pylist() if self.row_number else range(1, table.num_rows + 1)
        ids = [f"{part}-{number}" for number in numbers]
        rows = _assemble(ids, [table[name] for name in self.text], label)
        return rows.filter(pc.is_valid(rows["label"])) if isinstance(declared, ClassLabel) else rows


@contextmanager
def _library_errors() -> Iterator[None]:
    """Raise errors of the hub's libraries as OSError: what is below them (httpx, fsspec) has kinds of its own."""
    try:
        yield
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def _require(columns: Iterable[str], there: list[str]) -> None:
    for name in columns:
        if there.count(name) != 1:
            count = "no column" if name not in there else "more than one column"
            raise ValueError(f"it has {count} {name!r}; its columns are {', '.join(map(repr, there))}")


def _read_delimited(path: Path, columns: tuple[str, ...], delimiter: str, quoted: bool) -> pa.Table:
    with path.open("rb") as file:
        data = pa.py_buffer(file.read())
    parse = pa.csv.ParseOptions(
        delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
    )
    # one block: rows may be longer than the reader's default block
    read = pa.csv.ReadOptions(block_size=max(data.size, 1))
    with pa.csv.open_csv(pa.BufferReader(data), read_options=read, parse_options=parse) as reader:
        _require(columns, reader.schema.names)
    convert = pa.csv.ConvertOptions(
        include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string())
    )
    return pa.csv.read_csv(
        pa.BufferReader(data), read_options=read, parse_options=parse, convert_options=convert
    )


def _read_jsonl(path: Path, columns: tuple[str, ...]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            rows.append(row)
    if rows:
        _require(columns, list(dict.fromkeys(key for row in rows for key in row)))
    return pa.table({name: [row.get(name) for row in rows] for name in columns})


def _strings(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Return the values as strings; whole numbers look like whole numbers, also where they came as floats."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) and pc.all(pc.equal(column, pc.round(column))).as_py():
        column = column.cast(pa.int64())
    return column.cast(pa.string())


def _assemble(ids: list[str], texts: list[pa.ChunkedArray], label: pa.ChunkedArray | pa.Array) -> pa.Table:
    columns = {"id": pa.array(ids, pa.string())}
    columns |= dict(zip(TEXT_COLUMNS, (_strings(text) for text in texts), strict=False))
    columns["label"] = label if isinstance(label, pa.DictionaryArray) else _strings(label)
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
