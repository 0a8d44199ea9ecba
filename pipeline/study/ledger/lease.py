"""The lease of a study: one driver at a time, held by a row in the ledger's database.

A holder renews its row every BEAT_S seconds. A row is free when its process is dead (seen from the same machine) or
when it has not been renewed for SILENT_S (seen from elsewhere). A driver that takes over writes another token, and
the former holder, if it is still alive, may not write to the ledger any more: it checks before its next write.
Ages are differences of the database's own clock; drivers' clocks are only displayed.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.study.ledger.processes import birth_of, is_alive, this_place
from pipeline.study.ledger.storage import (
    POSTGRES,
    LedgerLost,
    cannot_open,
    database_errors,
    driver_url,
    engine_options,
)
from pipeline.study.records import BadInput

BEAT_S = 10.0
IDLE_S = 60.0  # a driver that stands still in a transaction for this long loses it: a server frees its locks
SILENT_S = 180.0  # a driver that has not renewed for this long counts as dead: many beats

_LEASES = Table(
    "prunefront_leases",
    MetaData(),
    Column("study", String(128), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("person", String(256), nullable=False),
    Column("host", String(256), nullable=False),
    Column("place", String(512), nullable=False),  # machine, boot and namespace that the process number is of
    Column("pid", Integer, nullable=False),
    Column("born", String(32), nullable=False),  # distinguishes two processes with one number
    Column("since", Float, nullable=False),  # seconds since 1970, the holder's clock
    Column("beat", Float, nullable=False),  # seconds since 1970, the database's clock
)


class LeaseLost(RuntimeError):  # noqa: N818 (a fact, not a fault of the program)
    """Another driver has taken the study over: this one may not write any more."""


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
    silent_s: float  # since its last renewal

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

    def __init__(self, engine: Engine, study: str, token: str, *, url: str) -> None:
        self._engine, self._study, self._token, self._url = engine, study, token, url
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._beats.start()

    def check(self) -> None:
        """Check the lease; called before every write to the store and to MLflow.

        Raises:
            LeaseLost: another driver has taken over; the message names it.
            LedgerLost: the database does not answer.
        """
        with database_errors(self._url), self._engine.connect() as connection:
            self.check_in(connection)

    def check_in(self, connection: Connection) -> None:
        """Check the lease within a transaction of the ledger's; until its end nobody takes over.

        Raises:
            LeaseLost: another driver has taken over; the message names it.
        """
        if connection.dialect.name == POSTGRES:
            connection.execute(
                text(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * IDLE_S)}")
            )
        holder = _holder(connection, self._study, lock=True)
        if holder is None or holder.token != self._token:
            by = f"by {holder}" if holder is not None else "and given back"
            raise LeaseLost(
                f"One driver at a time searches a study; {self._study!r} was taken over {by}. This one stops; its "
                "running trials go on there from their checkpoints."
            )

    def give_back(self) -> None:
        """End the lease: the study is free."""
        self._ended.set()
        self._beats.join()
        # a row that stays counts as dead
        with suppress(SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(delete(_LEASES).where(*self._own()))
        self._engine.dispose()

    def _own(self) -> tuple[Any, Any]:
        return _LEASES.c.study == self._study, _LEASES.c.token == self._token

    def _renew(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(SQLAlchemyError), self._engine.begin() as connection:  # the next beat may do
                beat = update(_LEASES).where(*self._own()).values(beat=_now(connection))
                connection.execute(beat)


@contextmanager
def hold(url: str, study: str, *, take_over: bool = False) -> Iterator[Lease]:
    """Hold the study in the database at `url` within the context.

    Raises:
        BadInput: the database cannot be opened, or another driver holds the study; the message names it.
    """
    engine = _engine(url)
    token = secrets.token_hex(16)
    try:
        _LEASES.create(engine, checkfirst=True)
    except SQLAlchemyError as error:
        try:
            _peek(engine, study)  # another driver may have made the table at the same time
        except SQLAlchemyError:
            engine.dispose()
            raise cannot_open(url, error) from None
    try:
        _take(engine, study, token, take_over=take_over)
    except SQLAlchemyError as error:
        engine.dispose()
        raise cannot_open(url, error) from None
    except BaseException:
        engine.dispose()
        raise
    lease = Lease(engine, study, token, url=url)
    try:
        yield lease
    except FileNotFoundError:  # a driver that took over may have removed what this one was writing
        with suppress(LedgerLost):
            lease.check()
        raise
    finally:
        lease.give_back()


def holder_of(url: str, study: str) -> Holder | None:
    """Return the driver that searches a study now; None if there is none, or the database does not exist."""
    engine = _engine(url)
    try:
        holder = _peek(engine, study)
    except (OperationalError, ProgrammingError):  # no such database, or no such table in it
        return None
    finally:
        engine.dispose()
    return None if holder is None or holder.gone else holder


def _engine(url: str) -> Engine:
    try:
        # connections are not kept: renewals are rare, and in a thread of their own
        return create_engine(driver_url(url), poolclass=NullPool, **engine_options(url, pooled=False))
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise cannot_open(url, error) from None


def _take(engine: Engine, study: str, token: str, *, take_over: bool) -> None:
    """Write our row, in place of one whose holder is gone."""
    while True:
        with engine.begin() as connection:
            holder = _holder(connection, study)
            if holder is not None and not (take_over or holder.gone):
                raise BadInput(
                    f"One driver at a time searches a study; {study!r} is searched by {holder}. Wait for it, or give "
                    "another --name. If you know that it has died, or is to stop: --take-over."
                )
            row = _row(study, token, now=_now(connection))
            if holder is not None:
                theirs = (_LEASES.c.study == study, _LEASES.c.token == holder.token)
                if connection.execute(update(_LEASES).where(*theirs).values(row)).rowcount == 1:
                    return
                continue  # it was taken, or given back, since we looked
            with suppress(IntegrityError):  # another driver was quicker
                connection.execute(insert(_LEASES).values(row))
                return


def _row(study: str, token: str, *, now: float) -> dict[str, Any]:
    try:
        person = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        person = f"user {os.getuid()}"
    pid = os.getpid()
    return {
        "study": study,
        "token": token,
        "person": person,
        "host": socket.gethostname(),
        "place": this_place(),
        "pid": pid,
        "born": birth_of(pid),
        "since": time.time(),
        "beat": now,
    }


def _peek(engine: Engine, study: str) -> Holder | None:
    with engine.connect() as connection:
        return _holder(connection, study)


def _holder(connection: Connection, study: str, *, lock: bool = False) -> Holder | None:
    """Return who holds a study; with `lock` nobody changes that before the transaction's end."""
    query = select(_LEASES).where(_LEASES.c.study == study)
    row = connection.execute(query.with_for_update(read=True) if lock else query).mappings().first()
    if row is None:
        return None
    names = ("token", "person", "host", "place", "pid", "born", "since")
    return Holder(**{name: row[name] for name in names}, silent_s=_now(connection) - row["beat"])


def _now(connection: Connection) -> float:
    """Return the database's clock in seconds; only differences are meaningful."""
    now: datetime = connection.execute(select(func.current_timestamp())).scalar_one()
    return now.replace(tzinfo=now.tzinfo or UTC).timestamp()
