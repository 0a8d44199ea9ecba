"""The records of a study -> one table; points.arrow holds the part that was gathered before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.study.records import TrialRecord
from pipeline.study.store.recordfile import JSON, Damaged, load_record, load_scalars, write_and_send
from pipeline.study.store.table import (
    Written,
    empty,
    from_bytes,
    joined,
    rows_of,
    still_valid,
    table_of,
    to_bytes,
)

TABLE, TRIALS = "points.arrow", "trials"


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of a trial's record and attempts, in a study's folder."""
    return study / TRIALS / f"{number:05d}"


def all_written(study: Path) -> dict[int, Written]:
    """Return when each trial's record was written, and its bytes, by trial number."""
    trials = study / TRIALS
    found: dict[int, Written] = {}
    for folder in trials.iterdir() if trials.is_dir() else ():
        if folder.name.isdecimal():
            with suppress(FileNotFoundError):
                found[int(folder.name)] = _written(folder)
    return found


def _written(folder: Path) -> Written:
    facts = (folder / JSON).stat()
    return facts.st_mtime_ns, facts.st_size


def read_trial(study: Path, number: int) -> tuple[TrialRecord, pa.Table]:
    """Return a trial's record and its rows, from one reading.

    Raises:
        BadInput: there is no such record, or it cannot be read.
    """
    folder = trial_folder(study, number)
    record = load_record(folder)
    return record, table_of(rows_of(record, written=_written(folder)))


def study_table(study: Path) -> pa.Table:
    """Return the rows of all trials that have ended, gathered or not.

    Raises:
        BadInput: records cannot be read; all that are damaged are named.
    """
    return _collect(study)[0]


def gather(study: Path, rows: Sequence[pa.Table] = ()) -> None:
    """Bring points.arrow up to date with the records; those whose `rows` are given are not read again.

    Raises:
        BadInput: a record cannot be read.
    """
    table, changed = _collect(study, rows)
    if changed:
        write_and_send(study / TABLE, to_bytes(table))


def _collect(study: Path, rows: Sequence[pa.Table] = ()) -> tuple[pa.Table, bool]:
    """Return the whole table, and whether it differs from points.arrow."""
    path = study / TABLE
    gathered = from_bytes(path.read_bytes()) if path.is_file() else empty()
    written = all_written(study)
    valid, known = still_valid(gathered, written)
    fresh = {number: when for number, when in written.items() if number not in known}
    given, given_numbers = still_valid(joined(empty(), *rows), fresh)
    unread = [number for number in sorted(fresh) if number not in given_numbers]
    read: list[dict[str, Any]] = []
    damaged: list[Damaged] = []
    for number in unread:
        try:
            record = load_scalars(trial_folder(study, number))
        except Damaged as error:
            damaged.append(error)
        else:
            read += rows_of(record, written=written[number])
    if damaged:
        raise Damaged("\n".join(map(str, damaged)))
    return joined(valid, given, table_of(read)), bool(fresh) or len(valid) < len(gathered)
