"""Rows of a part, checked: whole, with labels that a network learns; what is wrong is said of their source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.classes import class_key
from pipeline.study.records import BadInput
from pipeline.task.encodings import printable
from pipeline.task.labels import class_numbers, require_whole, values, without_empty_texts
from pipeline.task.outline import Source
from pipeline.task.rows import NO_CLASS

OF_ONE_CLASS = ("f1", "accuracy_f1")  # metrics that count the hits of one class, where there are two


@contextmanager
def said_of(source: Source) -> Iterator[None]:
    """Put what is wrong with a source's rows into a message for the user who named it."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        facts = f"{source}: {printable(str(error))}".rstrip(".")
        raise BadInput(f"Rows are whole and readable. {facts}. {source.way_out}") from error


def positive_last(names: tuple[str, ...], positive: str | None, metric: str) -> tuple[str, ...]:
    """Return the classes with the positive one as number 1, whose F1 is meant.

    Raises:
        ValueError: it is none of two classes, or the metric has no such class.
    """
    if positive is None:
        return names
    matching = [name for name in names if class_key(name) == class_key(positive)]
    if metric not in OF_ONE_CLASS or len(names) != 2 or not matching:
        raise ValueError(
            f"positive = {positive!r} names the one of two classes whose F1 is meant; the metric is {metric} and the "
            f"classes are {', '.join(names)}"
        )
    return (*(name for name in names if name != matching[0]), matching[0])


def whole(rows: pa.Table, part: str, remarks: list[str], *, drop_empty: bool) -> pa.Table:
    """Return the rows, each with its texts and its label; what is left out is said in `remarks`."""
    if drop_empty:
        count = rows.num_rows
        rows, dropped = without_empty_texts(rows)
        if dropped:
            remarks.append(f"{dropped:,} of the {count:,} {part} rows have no text and are left out.")
    require_whole(rows)
    return rows


def require_different(validation: pa.Table) -> None:
    """Refuse validation rows that all have one label: no prediction can be told from a constant one."""
    if pc.count_distinct(validation["label"]).as_py() == 1:
        count = (
            "1 validation row has"
            if validation.num_rows == 1
            else f"{validation.num_rows:,} validation rows have"
        )
        raise ValueError(f"its {count} one and the same label; a metric needs different ones, so more rows")


def require_unseen(shared: Mapping[str, int], rows: int, source: Source) -> None:
    """Refuse validation rows that are all train rows: every front would be that of rows the networks have learned."""
    if shared.get("validation+train") == rows:
        raise BadInput(
            f"Validation rows are rows that no network is trained on. {source}: all {rows} rows are "
            "train rows, too. Give other rows, or leave validation out: a part of train is kept aside then."
        )


def unknown(rows: pa.Table) -> pa.Table:
    """Return the rows of a task without labels; their label is that of no class."""
    label = pa.chunked_array([pa.array([NO_CLASS] * rows.num_rows, pa.int64())])
    return rows.set_column(rows.column_names.index("label"), "label", label).combine_chunks()


def numbered(rows: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """Return the rows with labels that a network learns: classes if there are names, else values."""
    label = class_numbers(rows["label"], names, rows["id"]) if names else values(rows["label"], rows["id"])
    return rows.set_column(rows.column_names.index("label"), "label", label).combine_chunks()
