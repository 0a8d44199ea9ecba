"""Tables of rows as kinds read them: another column of labels, lists in JSON, the number of a row in its file."""

from __future__ import annotations

import json

import pyarrow as pa

TEXT_COLUMNS = ("text_a", "text_b")


def with_label(rows: pa.Table, label: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the rows with another column of labels."""
    return rows.set_column(rows.column_names.index("label"), "label", label).combine_chunks()


def unknown(rows: pa.Table) -> pa.Table:
    """Return the rows of a task without labels; their label is -1."""
    return with_label(rows, pa.array([-1] * rows.num_rows, pa.int64()))


def listed(text: str) -> list[str]:
    """Return the strings of a list in JSON; of any other text itself, and of an object its keys."""
    if not text.startswith(("[", "{")):
        return [text]
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    return [str(each) for each in found]


def row_number(rows: pa.Table, row: int) -> str:
    """Return the number of a row in its file, from 1 without the header: its id ends with it."""
    return str(rows["id"][row].as_py()).rpartition("-")[2]
