"""Rows of a part, checked: whole, with labels that a network learns; what is wrong is said of their source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from pipeline.study.records import BadInput
from pipeline.task.encodings import printable
from pipeline.task.labels import require_whole, without_empty_texts
from pipeline.task.outline import Source


@contextmanager
def said_of(source: Source) -> Iterator[None]:
    """Put what is wrong with a source's rows into a message for the user who named it."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        facts = f"{source}: {printable(str(error))}".rstrip(".")
        raise BadInput(f"{facts}. {source.way_out}") from error


def whole(rows: pa.Table, part: str, remarks: list[str], *, drop_empty: bool) -> pa.Table:
    """Return the rows, each with its texts and its label; what is left out is said in `remarks`."""
    if drop_empty:
        count = rows.num_rows
        rows, dropped = without_empty_texts(rows)
        if dropped:
            remarks.append(f"{dropped:,} of the {count:,} {part} rows have no text and are left out.")
    require_whole(rows)
    return rows


def require_unseen(shared: Mapping[str, int], rows: int, source: Source) -> None:
    """Refuse validation rows that are all train rows: every front would be that of rows the networks have learned."""
    if shared.get("validation+train") == rows:
        raise BadInput(
            f"Validation rows are rows that no network is trained on. {source}: all {rows} rows are "
            "train rows, too. Give other rows, or leave validation out: a part of train is kept aside then."
        )
