"""What a schedule's databases hold, read and spoilt without Optuna."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pipeline.study.ledger.storage import driver_url
from pipeline.study.store import journal_folder

Execute = Callable[..., list[Any]]


def query(file: Path, words: str, *values: Any) -> list[Any]:
    """Rows of a sqlite file."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute(words, values).fetchall()


class LedgerBooks:
    """A ledger at `url`: sqlite without SQLAlchemy, whose start is a third of a schedule's time."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def _open(self) -> Iterator[Execute]:
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as database:
                yield lambda words, **values: database.execute(words, values).fetchall()
                database.commit()
            return
        engine = create_engine(driver_url(self.url), poolclass=NullPool)
        with engine.begin() as connection:

            def execute(words: str, **values: Any) -> list[Any]:
                found = connection.execute(text(words), values)
                return list(found.all()) if found.returns_rows else []

            yield execute
        engine.dispose()

    def asked(self) -> dict[int, dict[str, Any]]:
        """The trials that were wholly asked for."""
        found = {}
        with self._open() as execute:
            for row, number, state in execute(
                "SELECT trial_id, number, CAST(state AS VARCHAR) FROM trials ORDER BY number"
            ):
                params = execute(
                    "SELECT value_json FROM trial_user_attributes WHERE trial_id = :row AND key = 'params'",
                    row=row,
                )
                if params and params[0][0] != "null":
                    values = execute(
                        "SELECT value FROM trial_values WHERE trial_id = :row ORDER BY objective", row=row
                    )
                    found[number] = {
                        "state": state, "params": params[0][0], "values": tuple(v for (v,) in values) or None
                    }  # fmt: skip
        return found

    def undo_last(self) -> None:
        """Undo the last commits, as a fail-over to a replica that lags: the last trial is gone, or runs again."""
        with self._open() as execute:
            rows = execute("SELECT trial_id, number, CAST(state AS VARCHAR) FROM trials ORDER BY number")
            if not rows:
                return
            row, number, state = rows[-1]
            if state != "RUNNING":
                execute("UPDATE trials SET state = 'RUNNING' WHERE trial_id = :row", row=row)
                execute("DELETE FROM trial_values WHERE trial_id = :row", row=row)
            elif number > 0:
                for table in ("_values", "_params", "_user_attributes", "_system_attributes", "s"):
                    execute(f"DELETE FROM trial{table} WHERE trial_id = :row", row=row)


STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL")  # Optuna's numbers
CREATE_TRIAL, END_TRIAL, ATTRIBUTE = 4, 6, 8  # operations of a journal's lines


class JournalBooks:
    """A ledger in a folder: the lines of its one study, without those that a former holder wrote too late."""

    def __init__(self, folder: Path) -> None:
        self.file, self.leases = folder / "s.journal", sorted((folder / "s.leases").glob("*.json"))

    def _lines(self) -> list[tuple[int, dict[str, Any]]]:
        """Where each line begins, and the line."""
        held = [json.loads(path.read_text()) for path in self.leases]
        ends = {was["token"]: now["journal_bytes"] for was, now in pairwise(held) if was["token"] != "free"}
        found, start = [], 0
        for text_ in self.file.read_bytes().splitlines(keepends=True):
            line = json.loads(text_)
            if start < ends.get(line.get("lease"), start + 1):
                found.append((start, line))
            start += len(text_)
        return found

    def asked(self) -> dict[int, dict[str, Any]]:
        """The trials that were wholly asked for."""
        found: dict[int, dict[str, Any]] = {}
        for _, line in self._lines():
            if line["op_code"] == CREATE_TRIAL:
                params = json.dumps(line["user_attrs"]["params"])
                found[len(found)] = {"state": STATES[line["state"]], "params": params, "values": None}
            elif line["op_code"] == END_TRIAL and found[line["trial_id"]]["state"] == "RUNNING":
                values = None if line["values"] is None else tuple(line["values"])
                found[line["trial_id"]] |= {"state": STATES[line["state"]], "values": values}
        return found

    def undo_last(self) -> None:
        """Put an older copy of the file in its place: the last trial is gone, or runs again."""
        asked = self.asked()
        last = len(asked) - 1
        if last < 0 or (asked[last]["state"] == "RUNNING" and last == 0):
            return
        made = [start for start, line in self._lines() if line["op_code"] == CREATE_TRIAL]
        cut = made[last]
        if asked[last]["state"] != "RUNNING":
            cut = next(
                start
                for start, line in self._lines()
                if start > made[last]
                and line.get("trial_id") == last
                and line["op_code"] in (END_TRIAL, ATTRIBUTE)
            )
        os.truncate(self.file, cut)


def books_of(url: str) -> LedgerBooks | JournalBooks:
    """The books of a ledger."""
    folder = journal_folder(url)
    return LedgerBooks(url) if folder is None else JournalBooks(folder)
