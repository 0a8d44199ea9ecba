"""The lease of a study: one driver at a time, held by a row in the ledger's database, or by a file of its journal.

A holder renews its lease every BEAT_S seconds. A lease is free when its process is dead (seen from the same machine)
or when it has not been renewed for SILENT_S (seen from elsewhere). A driver that takes over writes another token, and
the former holder, if it is still alive, may not write to the ledger any more: it checks before its next write.
Ages are differences of the ledger's own clock; drivers' clocks are only displayed.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import final

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from pipeline.study.ledger.backends import backend_of
from pipeline.study.ledger.holder import SILENT_S, Holder, this_process
from pipeline.study.ledger.storage import LeaseLost, LedgerLost, cannot_open, database_errors
from pipeline.study.ledger.transaction import LeaseBook, Transaction
from pipeline.study.records import BadInput

__all__ = ["SILENT_S", "Holder", "Lease", "LeaseLost", "hold", "holder_of"]

BEAT_S = 10.0
IDLE_S = 60.0  # a driver that stands still in a transaction for this long loses it: a server frees its locks


@final
class Lease:
    """The right to write a study's trials, renewed in the background until it is given back."""

    def __init__(self, book: LeaseBook, study: str, token: str, *, url: str) -> None:
        self.token = token
        self._book, self._study, self._url = book, study, url
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._beats.start()

    def check(self) -> None:
        """Check the lease; called before every write to the store and to MLflow.

        Raises:
            LeaseLost: another driver has taken over; the message names it.
            LedgerLost: the database does not answer.
        """
        with database_errors(self._url):
            self._refuse_other(self._book.peek(self._study))

    def check_in(self, transaction: Transaction) -> None:
        """Check the lease within a write of the ledger's; until its end nobody takes over.

        Raises:
            LeaseLost: another driver has taken over; the message names it.
        """
        self._refuse_other(transaction.holder(self._study, idle_s=IDLE_S))

    def _refuse_other(self, holder: Holder | None) -> None:
        if holder is None or holder.token != self.token:
            by = f"by {holder}" if holder is not None else "and given back"
            raise LeaseLost(
                f"One driver at a time searches a study; {self._study!r} was taken over {by}. This one stops; its "
                "running trials go on there from their checkpoints."
            )

    def give_back(self) -> None:
        """End the lease: the study is free."""
        self._ended.set()
        self._beats.join()
        self._book.give_back(self._study, self.token)
        self._book.close()

    def _renew(self) -> None:
        while not self._ended.wait(BEAT_S):
            self._book.beat(self._study, self.token)


@contextmanager
def hold(url: str, study: str, *, take_over: bool = False) -> Iterator[Lease]:
    """Hold the study in the ledger at `url` within the context.

    Raises:
        BadInput: the ledger cannot be opened, or another driver holds the study; the message names it.
    """
    book = backend_of(url).leases()
    token = secrets.token_hex(16)
    try:
        book.open()
        _take(book, study, token, take_over=take_over)
    except (SQLAlchemyError, StorageInternalError, OSError) as error:
        book.close()
        raise cannot_open(url, error) from None
    except BaseException:
        book.close()
        raise
    lease = Lease(book, study, token, url=url)
    try:
        yield lease
    except FileNotFoundError:  # a driver that took over may have removed what this one was writing
        with suppress(LedgerLost):
            lease.check()
        raise
    finally:
        lease.give_back()


def holder_of(url: str, study: str) -> Holder | None:
    """Return the driver that searches a study now; None if there is none, or the ledger does not exist."""
    book = backend_of(url).leases()
    try:
        holder = book.peek(study)
    except (OperationalError, ProgrammingError, StorageInternalError):  # no such database
        return None
    finally:
        book.close()
    return None if holder is None or holder.gone else holder


def _take(book: LeaseBook, study: str, token: str, *, take_over: bool) -> None:
    """Take the lease, in place of a holder that is gone."""
    while True:
        holder = book.peek(study)
        if holder is not None and not (take_over or holder.gone):
            raise BadInput(
                f"One driver at a time searches a study; {study!r} is searched by {holder}. Wait for it, or give "
                "another --name. If you know that it has died, or is to stop: --take-over."
            )
        if book.take(study, this_process(token), instead_of=holder):
            return
