"""A ledger in a database: Optuna's tables, and the leases beside them."""

from __future__ import annotations

from typing import final

from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, event, text

from pipeline.study.ledger.lease_table import LeaseTable, end_if_idle, holder_in
from pipeline.study.ledger.storage import driver_url, engine_options
from pipeline.study.ledger.tables import made_once
from pipeline.study.ledger.transaction import REASON, REDUNDANT, Check, Row


@final
class Database:
    """A ledger at a URL of SQLAlchemy's."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, study: str) -> RDBStorage:
        """Open the storage of all studies; create its tables."""
        del study
        storage = made_once(
            lambda: RDBStorage(driver_url(self._url), engine_kwargs=engine_options(self._url))
        )
        event.listen(storage.engine, "begin", end_if_idle)
        return storage

    def leases(self) -> LeaseTable:
        """Return the leases of all studies."""
        return LeaseTable(self._url)

    def guard(self, storage: BaseStorage, check: Check, token: str) -> None:
        """Call `check` before each commit."""
        del token  # a transaction that is not committed has not been

        def before_commit(connection: Connection) -> None:
            check(_Commit(connection))

        event.listen(_rdb(storage).engine, "commit", before_commit)

    def reopen(self, storage: BaseStorage, study_id: int, number: int) -> BaseStorage:
        """Make an ended trial a running one again, with its parameters: in one transaction, which Optuna has not."""
        row = storage.get_trial_id_from_study_id_trial_number(study_id, number)
        with _rdb(storage).engine.begin() as connection:
            for statement in (
                "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = :row",
                "DELETE FROM trial_values WHERE trial_id = :row",
                f"DELETE FROM trial_user_attributes WHERE trial_id = :row AND key IN ('{REASON}', '{REDUNDANT}')",
            ):
                connection.execute(text(statement), {"row": row})
        return storage

    def close(self, storage: BaseStorage) -> None:
        """Let go of connections: a server's are not left to the collector."""
        storage.remove_session()
        _rdb(storage).engine.dispose()


@final
class _Commit:
    """A transaction before its commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last_number(self, study_id: int) -> int | None:
        statement = text("SELECT MAX(number) FROM trials WHERE study_id = :study")
        found: int | None = self._connection.execute(statement, {"study": study_id}).scalar_one()
        return found

    def holder(self, study: str) -> Row | None:
        return holder_in(self._connection, study, lock=True)


def _rdb(storage: BaseStorage) -> RDBStorage:
    assert isinstance(storage, RDBStorage)
    return storage
