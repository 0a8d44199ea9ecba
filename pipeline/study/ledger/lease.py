"""The lease of a study: one driver at a time, held by a row in the ledger's database, or by a file of its journal.

A holder renews its lease every BEAT_S seconds. A lease is free when its process is dead (seen from the same machine)
or when it has not been renewed for SILENT_S (seen from elsewhere). A driver that finds it held from elsewhere waits
until it is renewed, and is refused, or until it is free: the driver of a node that was lost is followed by the retry of
its job, and two retries at once are one driver. A driver that takes over writes another token, and the former holder,
if it is still alive, may not write to the ledger any more: it checks before its next write.
Ages are differences of the ledger's own clock; drivers' clocks are only displayed.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import final

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from pipeline.study.ledger.backends import backend_of
from pipeline.study.ledger.processes import is_alive, this_place, this_process
from pipeline.study.ledger.storage import LeaseLost, LedgerLost, cannot_open, database_errors
from pipeline.study.ledger.transaction import LeaseBook, Row, Transaction
from pipeline.study.records import BadInput

BEAT_S = 10.0
LOOK_S = 1.0  # between two looks at a lease that may be a dead driver's
SILENT_S = 180.0  # a driver that has not renewed for this long counts as dead: many beats


@dataclass(frozen=True)
class Holder:
    """The driver that searches a study."""

    token: str
    person: str
    host: str
    place: str
    pid: int
    born: str
    since: float
    beat: float  # when it was renewed last, by the ledger's clock
    silent_s: float  # since then

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).astimezone()
        renewed = f"{self.silent_s:.0f} s ago" if self.silent_s >= 0 else "at a later time than now"
        return (
            f"{self.person} on {self.host}, process {self.pid}, since {since:%Y-%m-%d %H:%M:%S} "
            f"(last renewed {renewed})"
        )

    @property
    def gone(self) -> bool:
        """Whether its process is dead, or has not renewed the lease for SILENT_S."""
        if self.place == this_place():
            return not is_alive(self.pid, self.born)
        return self.silent_s > SILENT_S


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
        """Check the lease within a write of the ledger's; until its end no other driver takes over.

        Raises:
            LeaseLost: another driver has taken over; the message names it.
        """
        self._refuse_other(transaction.holder(self._study))

    def _refuse_other(self, row: Row | None) -> None:
        holder = _as_holder(row)
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
def hold(
    url: str, study: str, *, take_over: bool = False, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[Lease]:
    """Hold the study in the ledger at `url` within the context.

    Args:
        url: of the ledger.
        study: its name.
        take_over: from the driver that holds it.
        on_wait: called before it is waited whether a driver on another machine is alive.

    Raises:
        BadInput: the ledger cannot be opened, or another driver holds the study; the message names it.
    """
    book = backend_of(url).leases()
    token = secrets.token_hex(16)
    try:
        book.open()
        _take(book, study, token, take_over=take_over, on_wait=on_wait)
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


def check_opens(url: str) -> None:
    """Check that the ledger at `url` can be opened; nothing is made.

    Raises:
        BadInput: it cannot.
    """
    book = backend_of(url).leases()
    try:
        book.reach()
    except (SQLAlchemyError, OSError) as error:
        raise cannot_open(url, error) from None
    finally:
        book.close()


def holder_of(url: str, study: str) -> Holder | None:
    """Return the driver that searches a study now; None if there is none, or the ledger does not exist."""
    book = backend_of(url).leases()
    try:
        holder = _as_holder(book.peek(study))
    except (OperationalError, ProgrammingError, StorageInternalError):  # no such database, folder or table
        return None
    finally:
        book.close()
    return None if holder is None or holder.gone else holder


def _as_holder(row: Row | None) -> Holder | None:
    return None if row is None else Holder(**row)


def _take(
    book: LeaseBook, study: str, token: str, *, take_over: bool, on_wait: Callable[[str], None]
) -> None:
    """Take the lease, in place of a holder that is gone."""
    if not take_over:
        _await_holder(book, study, on_wait)
    while True:
        seen = book.peek(study)
        holder = _as_holder(seen)
        if holder is not None and not (take_over or holder.gone):
            raise _held(study, holder)
        row = this_process() | {"token": token, "since": time.time()}
        if book.take(study, row, instead_of=seen):
            return


def _await_holder(book: LeaseBook, study: str, on_wait: Callable[[str], None]) -> None:
    """Wait until a holder on another machine shows that it is alive, or counts as dead.

    Raises:
        BadInput: it is alive.
    """
    first = holder = _as_holder(book.peek(study))
    while first is not None and holder is not None and not holder.gone:
        if holder.place == this_place() or (holder.token, holder.beat) != (first.token, first.beat):
            raise _held(study, first)
        if holder is first:
            on_wait(
                f"{study!r} is searched by {holder}. Waiting for a sign of it, or until it counts as dead, "
                f"{SILENT_S:.0f} s after its last one."
            )
        time.sleep(LOOK_S)
        holder = _as_holder(book.peek(study))


def _held(study: str, holder: Holder) -> BadInput:
    return BadInput(
        f"{study!r} is searched by {holder}. One driver at a time searches a study. Wait for it, or "
        "give another --name. If you know that it has died, or is to stop: --take-over."
    )
