"""Writes to the ledger's database: each transaction checks, before its commit, that it still may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from optuna.storages import RDBStorage
from sqlalchemy import Connection, event

from pipeline.study.ledger.storage import database_errors

if TYPE_CHECKING:
    from pipeline.study.ledger.lease import Lease

Check = Callable[[Connection], None]  # raises what refuses the commit


@final
class GuardedWrites:
    """The transactions of one storage. Reads are not checked."""

    def __init__(self, storage: RDBStorage, url: str, lease: Lease | None) -> None:
        """Watch a storage's commits; without a `lease` there is none to check."""
        self.url, self.lease = url, lease
        self._check: Check | None = None
        event.listen(storage.engine, "commit", self._before_commit)

    @contextmanager
    def __call__(self, check: Check = lambda _: None) -> Iterator[None]:
        """Check the lease, and what `check` checks, in each transaction within the context.

        Raises:
            LeaseLost: another driver has taken over; nothing is written.
            LedgerLost: the database does not answer.
        """
        self._check = check
        try:
            with database_errors(self.url):
                yield
        finally:
            self._check = None

    def _before_commit(self, connection: Connection) -> None:
        if self._check is not None:
            self._check(connection)
            if self.lease is not None:
                self.lease.check_in(connection)
