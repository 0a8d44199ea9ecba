"""Local files of every format -> Arrow columns of strings, null where a value is missing.

csv, tsv, json lines and parquet, each also compressed (.gz, .zst). A value has one spelling in all of them: whole
numbers look like whole numbers, a list of one value is that value. What cannot be read is a ValueError with the row,
counted from 1 without the header.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.task.declared import declared_classes, named, named_lists
from pipeline.task.encodings import text_of
from pipeline.task.nested import CONLL, read_conll, read_objects
from pipeline.task.spelling import as_string, as_strings

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet")
OBJECTS = {".json": read_objects, **dict.fromkeys(CONLL, read_conll)}  # of rows with lists and objects
COMPRESSIONS = (".gz", ".zst")
GUESSED = ",;\t|"  # delimiters that a header is split by where the usual one does not give the columns
LARGEST_BLOCK = 2**31 - 1  # bytes: Arrow counts them in 32 bits
HEADER_CHARACTERS = 100_000
SPREADSHEET = 'save it as csv (UTF-8), or pandas.read_excel(...).to_csv("train.csv", index=False)'
ARROW = 'save it as parquet: pyarrow.parquet.write_table(pyarrow.feather.read_table(...), "train.parquet")'
JSON = "write one JSON object a line, into a file that ends in .jsonl"
WAYS_OUT = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), SPREADSHEET),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), ARROW),
    ".json": JSON,
    ".txt": "call it .csv or .tsv, by what separates its columns",
    **dict.fromkeys((".pkl", ".pickle", ".pt"), "such a file can run code: save its rows as parquet or csv"),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".tar", ".tgz"), "unpack it, or compress it as .gz or .zst"),
}
# One field of a tsv as pandas quotes it, or a plain one; and what ends it.
FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^\t\r\n]*))(\t|\r\n|\n|\r|\Z)')


def kind_of(path: Path) -> str:
    """Return the suffix of a file's format, without that of a compression."""
    compressed = path.suffix.lower() in COMPRESSIONS
    return (Path(path.stem) if compressed else path).suffix.lower()


def read_columns(
    path: Path, columns: tuple[str, ...], delimiter: str | None, *, nested: bool = False
) -> tuple[pa.Table, tuple[str, ...]]:
    """Read some columns of a file as strings; return them with remarks for the user on how they were read.

    `nested`: values may be lists and objects, which become JSON. A column whose classes a parquet file declares
    (ClassLabel of datasets) is a dictionary array in their order.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: the file cannot be read, or lacks a column.
    """
    kind = kind_of(path)
    if kind in OBJECTS and nested:
        rows = OBJECTS[kind](text_of(content_of(path)))
        require_columns(columns, list(dict.fromkeys(name for row in rows for name in row)))
        found = {
            name: pa.array(
                [as_string(row.get(name), f"row {n}", name, nested=True) for n, row in enumerate(rows, 1)],
                pa.string(),
            )
            for name in columns
        }
        return pa.table(found), ()
    if kind not in (*SUFFIXES, *JSON_LINES):
        way_out = WAYS_OUT.get(kind, "save its rows in one of these formats")
        raise ValueError(
            f"the suffix {kind!r} is none of {', '.join(SUFFIXES)} (.gz or .zst of each): {way_out}"
        )
    data = content_of(path)
    remarks: tuple[str, ...] = ()
    classes: dict[str, list[str]] = {}
    if kind == ".parquet":
        table, classes = _read_parquet(data, columns)
    elif kind in JSON_LINES:
        table = _read_json_lines(text_of(data), columns, nested=nested)
    else:
        table, remarks = _read_delimited(text_of(data), columns, delimiter, kind)
    strings = {name: as_strings(table[name], name, nested=nested) for name in columns}
    for name, names in classes.items():
        lists = pa.types.is_list(table.schema.field(name).type)
        strings[name] = named_lists(table[name], names) if lists else named(strings[name], names, name)
    return pa.table(strings), tuple(f"{path.name}: {remark}." for remark in remarks)


def require_columns(columns: Iterable[str], there: list[str]) -> None:
    """Check that each column is there once.

    Raises:
        ValueError: one is not; the message lists those that are.
    """
    for name in columns:
        if there.count(name) != 1:
            count = "no column" if name not in there else "more than one column"
            raise ValueError(f"it has {count} {name!r}; its columns are {', '.join(map(repr, there))}")


def content_of(path: Path) -> bytes:
    """Return a file's bytes, unpacked.

    Raises:
        OSError, ValueError: it cannot be read or unpacked.
    """
    data = path.read_bytes()
    try:
        if path.suffix.lower() == ".gz":
            return gzip.decompress(data)
        if path.suffix.lower() == ".zst":
            with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
                return bytes(stream.read())
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise ValueError(f"it is not a whole {path.suffix} file ({error})") from error
    return data


def _read_delimited(
    text: str, columns: tuple[str, ...], delimiter: str | None, kind: str
) -> tuple[pa.Table, tuple[str, ...]]:
    """Read a csv, or a tsv: that one has no quoting, unless all its quotes are such as pandas writes."""
    remarks = []
    if delimiter is None:
        delimiter, guessed = _delimiter(text, columns, DELIMITERS[kind])
        if guessed:
            remarks.append(f"its columns are separated by {delimiter!r}, which its header shows")
    quoted = kind == ".csv"
    if delimiter == "\t" and not quoted and _is_quoted(text):
        quoted = True
        remarks.append("its fields are quoted, as pandas writes them")
    data = pa.py_buffer(text.encode())
    parse = pa.csv.ParseOptions(
        delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
    )
    # one block, as far as it can be: rows may be longer than the reader's default block
    read = pa.csv.ReadOptions(block_size=min(max(data.size, 1), LARGEST_BLOCK))
    with pa.csv.open_csv(pa.BufferReader(data), read_options=read, parse_options=parse) as reader:
        names = reader.schema.names
    _require_delimited(columns, names)
    convert = pa.csv.ConvertOptions(
        include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string())
    )
    table = pa.csv.read_csv(
        pa.BufferReader(data), read_options=read, parse_options=parse, convert_options=convert
    )
    return table, tuple(remarks)


def _require_delimited(columns: tuple[str, ...], names: list[str]) -> None:
    try:
        require_columns(columns, names)
    except ValueError as error:
        used = [each for each in GUESSED if len(names) == 1 and each in names[0]]
        if not used:
            raise
        raise ValueError(
            f"{error}; if {used[0]!r} separates them, write delimiter = {json.dumps(used[0])} in the task file"
        ) from error


def _delimiter(text: str, columns: tuple[str, ...], usual: str) -> tuple[str, bool]:
    """Return what separates the columns, and whether that was guessed: the one character whose header has them all."""

    def fits(delimiter: str) -> bool:
        lines = csv.reader(io.StringIO(text[:HEADER_CHARACTERS], newline=""), delimiter=delimiter)
        try:
            header = next((line for line in lines if line), [])
        except csv.Error:
            return False
        return all(header.count(name) == 1 for name in columns)

    if fits(usual):
        return usual, False
    others = [each for each in GUESSED if each != usual and fits(each)]
    return (others[0], True) if len(others) == 1 else (usual, False)


def _is_quoted(text: str) -> bool:
    """Return whether the fields of a tsv that begin with a quote are quoted, and for a reason.

    Either all names of the header are quoted, or every quoted field has a tab, a line break or a quote in it. Each ends
    with its quote, and every row has as many fields as the header.
    """
    if not (text.startswith('"') or '\t"' in text or '\n"' in text):
        return False
    place, width, fields, rows, header_quoted = 0, 0, 0, 0, True
    reasons = []
    while place < len(text):
        found = FIELD.match(text, place)
        if found is None:
            return False
        inner, plain, end = found.groups()
        if inner is None and plain.startswith('"'):
            return False
        if inner is not None:
            reasons.append(any(each in inner for each in '\t\r\n"'))
        elif rows == 0:
            header_quoted = False
        fields += 1
        place = found.end()
        if end != "\t":
            blank = fields == 1 and inner is None and not plain
            width = width or fields
            if fields != width and not blank:
                return False
            fields, rows = 0, rows + 1
        elif place == len(text):
            fields += 1
            if fields != width:
                return False
    return bool(reasons) and (header_quoted or all(reasons))


def _read_json_lines(text: str, columns: tuple[str, ...], *, nested: bool) -> pa.Table:
    found: dict[str, list[str | None]] = {name: [] for name in columns}
    keys: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object; {JSON}")
        keys |= dict.fromkeys(row)
        for name in columns:
            found[name].append(as_string(row.get(name), f"line {number}", name, nested=nested))
    if keys:
        require_columns(columns, list(keys))
    return pa.table({name: pa.array(column, pa.string()) for name, column in found.items()})


def _read_parquet(data: bytes, columns: tuple[str, ...]) -> tuple[pa.Table, dict[str, list[str]]]:
    """Read columns, and the names of the classes whose numbers they hold, where these are declared."""
    parquet = pa.parquet.ParquetFile(pa.BufferReader(data))
    require_columns(columns, parquet.schema_arrow.names)
    return parquet.read(columns=list(columns)), declared_classes(parquet.schema_arrow.metadata, columns)
