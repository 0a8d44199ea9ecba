"""Writes to the ledger: each checks, before it counts, that it still may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from pipeline.study.ledger.storage import database_errors
from pipeline.study.ledger.transaction import Check, Transaction

if TYPE_CHECKING:
    from pipeline.study.ledger.lease import Lease


@final
class GuardedWrites:
    """The writes of one ledger. Reads are not checked."""

    def __init__(self, url: str, lease: Lease | None) -> None:
        """Check nothing yet: `before` is to be called before each write; without a `lease` there is none to check."""
        self.url, self.lease = url, lease
        self._check: Check | None = None

    @contextmanager
    def __call__(self, check: Check = lambda _: None) -> Iterator[None]:
        """Check the lease, and what `check` checks, in each write within the context.

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

    def before(self, transaction: Transaction) -> None:
        """Check a write before it counts."""
        if self._check is not None:
            self._check(transaction)
            if self.lease is not None:
                self.lease.check_in(transaction)
