"""What a schedule's databases hold, read and spoilt without Optuna."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from pipeline.study.ledger.storage import driver_url


def query(file: Path, words: str, *values: Any) -> list[Any]:
    """Rows of a sqlite file."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute(words, values).fetchall()


@dataclass(frozen=True)
class LedgerBooks:
    """A ledger at `url`."""

    url: str

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        engine = create_engine(driver_url(self.url), poolclass=NullPool)
        with engine.begin() as connection:
            yield connection
        engine.dispose()

    def asked(self) -> dict[int, dict[str, Any]]:
        """The trials that were wholly asked for."""
        found = {}
        with self._open() as opened:
            trials = opened.execute(text("SELECT trial_id, number, CAST(state AS VARCHAR) FROM trials")).all()
            for row, number, state in trials:
                params = opened.execute(
                    text(
                        "SELECT value_json FROM trial_user_attributes WHERE trial_id = :row AND key = 'params'"
                    ),
                    {"row": row},
                ).scalar()
                if params is None or params == "null":
                    continue
                values = opened.execute(
                    text("SELECT value FROM trial_values WHERE trial_id = :row ORDER BY objective"),
                    {"row": row},
                ).scalars()
                found[number] = {"state": state, "params": params, "values": tuple(values) or None}
        return found

    def undo_last(self) -> None:
        """Undo the last commits, as a fail-over to a replica that lags: the last trial is gone, or runs again."""
        with self._open() as opened:
            rows = opened.execute(
                text("SELECT trial_id, number, CAST(state AS VARCHAR) FROM trials ORDER BY number")
            ).all()
            if not rows:
                return
            row, number, state = rows[-1]
            if state != "RUNNING":
                opened.execute(
                    text("UPDATE trials SET state = 'RUNNING' WHERE trial_id = :row"), {"row": row}
                )
                opened.execute(text("DELETE FROM trial_values WHERE trial_id = :row"), {"row": row})
            elif number > 0:
                for table in ("_values", "_params", "_user_attributes", "_system_attributes", "s"):
                    opened.execute(text(f"DELETE FROM trial{table} WHERE trial_id = :row"), {"row": row})
