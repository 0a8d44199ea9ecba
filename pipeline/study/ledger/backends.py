"""The kinds of ledgers, by the URL: a database, or a folder of journals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipeline.study.ledger.database import Database
from pipeline.study.ledger.journal import Journal
from pipeline.study.ledger.transaction import Check, LeaseBook
from pipeline.study.store import journal_folder

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class Backend(Protocol):
    """One kind of ledger: Optuna's storage, and what Optuna has not."""

    def open(self, study: str) -> BaseStorage:
        """Open the storage that has a study; create it."""

    def leases(self) -> LeaseBook:
        """Return who holds which study."""

    def guard(self, storage: BaseStorage, check: Check, token: str) -> None:
        """Call `check` before each write counts; what is written is marked with the lease's `token`."""

    def reopen(self, storage: BaseStorage, study_id: int, number: int) -> BaseStorage:
        """Make an ended trial a running one again; return the storage that shows it so."""

    def close(self, storage: BaseStorage) -> None:
        """Let go of what is open."""


def backend_of(url: str) -> Backend:
    """Return the kind of ledger that a URL names."""
    folder = journal_folder(url)
    return Database(url) if folder is None else Journal(folder)
