"""All points of a study as one Arrow table, which is read in a fraction of a second.

One row per point, with the columns of its trial; a trial without points has one row, whose columns from
`point` to `nonzero_parameters` are null. Masks and predictions are only in the records.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.study.records import Point, TrialRecord
from pipeline.study.store.recordfile import StoredPoint, StoredRecord

FORMAT = 3  # a table of another format is made again

Written = tuple[int, int]  # when a record was written, in ns, and its bytes
_TEXT = pa.dictionary(pa.int32(), pa.string())  # a trial's texts are repeated in all of its rows
COLUMNS = pa.schema(
    [
        ("number", pa.int32()),
        ("state", _TEXT),
        ("reason", _TEXT),
        ("params", _TEXT),  # JSON
        ("epochs", pa.float64()),
        ("seconds", pa.float64()),
        ("point", pa.int32()),  # its index in the record's points
        ("kind", _TEXT),
        ("round", pa.int32()),
        ("threshold", pa.float64()),
        ("metric", pa.float64()),
        ("metrics", pa.map_(pa.string(), pa.float64())),
        ("compression", pa.float64()),
        ("compression_total", pa.float64()),
        ("parameters", pa.int64()),
        ("encoder_parameters", pa.int64()),
        ("macs", pa.int64()),
        ("size_mb", pa.float64()),
        ("latency_ms", pa.float64()),
        ("dense_latency_ms", pa.float64()),
        ("sparsity", pa.float64()),
        ("nonzero_parameters", pa.int64()),
        # when the record was written, and its bytes: a record with another time or size is read again
        ("written_ns", pa.int64()),
        ("written_bytes", pa.int64()),
    ],
    metadata={"format": str(FORMAT)},
)


def empty() -> pa.Table:
    """Return a table without rows."""
    return COLUMNS.empty_table()


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Return the table of some rows, in their order."""
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def joined(table: pa.Table, *more: pa.Table) -> pa.Table:
    """Return a table with the rows of further ones, sorted by trial and point."""
    if not any(map(len, more)):
        return table
    # one chunk and one dictionary per column, which the file format requires
    both = pa.concat_tables([table, *more]).unify_dictionaries().combine_chunks()
    return both.sort_by([("number", "ascending"), ("point", "ascending")])


def still_valid(table: pa.Table, written: Mapping[int, Written]) -> tuple[pa.Table, set[int]]:
    """Return the rows whose records are unchanged (`written`: by trial number), and their trials."""
    numbers, first = np.unique(table["number"].to_numpy(), return_index=True)
    columns = (table[name].to_numpy()[first].tolist() for name in ("written_ns", "written_bytes"))
    seen = zip(numbers.tolist(), zip(*columns, strict=True), strict=True)
    known = {number for number, then in seen if written.get(number) == then}
    if len(known) == len(numbers):
        return table, known
    return table.filter(pa.array(np.isin(table["number"].to_numpy(), sorted(known)))), known


def to_bytes(table: pa.Table) -> bytes:
    """Return the table as the bytes of an Arrow file."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(data: bytes) -> pa.Table:
    """Return the table in an Arrow file; empty if it is damaged or of another format: it can be made again."""
    try:
        table = pa.ipc.open_file(data).read_all()
    except (pa.ArrowException, OSError):
        return empty()
    return table if table.schema.equals(COLUMNS, check_metadata=True) else empty()


def rows_of(record: StoredRecord | TrialRecord, *, written: Written) -> list[dict[str, Any]]:
    """Return a trial's rows: one per point, or one row without a point if it has none."""
    trial = {
        "number": record.number,
        "state": record.state,
        "reason": record.reason,
        "params": json.dumps(record.params),
        "epochs": record.epochs,
        "seconds": record.seconds,
        "written_ns": written[0],
        "written_bytes": written[1],
    }
    shown: Sequence[StoredPoint | Point] = record.points
    points = [
        {
            "point": place,
            "kind": point.kind,
            "round": point.round,
            "threshold": point.threshold,
            **vars(point.measurement),
            "metrics": list(point.measurement.metrics.items()),
        }
        for place, point in enumerate(shown)
    ]
    return [trial | point for point in points or [{}]]
