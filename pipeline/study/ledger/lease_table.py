"""Leases as rows of a database's table. Ages are differences of the database's own clock."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import final

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
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.study.ledger.storage import POSTGRES, cannot_open, driver_url, engine_options, require_folder
from pipeline.study.ledger.transaction import NAMES, Row

IDLE_S = 60.0  # a driver that stands still in a transaction for this long loses it: a server frees its locks

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


@final
class LeaseTable:
    """The leases of one database. Connections are not kept: renewals are rare, and in a thread of their own."""

    def __init__(self, url: str) -> None:
        """Open no connection yet.

        Raises:
            BadInput: the URL cannot be read, or its driver is missing.
        """
        self._url = url
        try:
            self._engine: Engine = create_engine(
                driver_url(url), poolclass=NullPool, **engine_options(url, pooled=False)
            )
        except (SQLAlchemyError, ImportError, ValueError) as error:
            raise cannot_open(url, error) from None
        event.listen(self._engine, "begin", end_if_idle)

    def open(self) -> None:
        """Create the table."""
        try:
            _LEASES.create(self._engine, checkfirst=True)
        except SQLAlchemyError as error:
            try:
                self.peek("")  # another driver may have made the table at the same time
            except SQLAlchemyError:
                raise cannot_open(self._url, error) from None

    def reach(self) -> None:
        """Ask the database for its tables; a file that is not there yet needs a folder."""
        file = self._engine.url.database
        if self._engine.dialect.name == "sqlite" and file and not Path(file).exists():
            require_folder(Path(file).parent)
            return
        with self._engine.connect() as connection:
            inspect(connection).get_table_names()

    def peek(self, study: str) -> Row | None:
        """Return who holds a study."""
        with self._engine.connect() as connection:
            return holder_in(connection, study)

    def take(self, study: str, row: Row, *, instead_of: Row | None) -> bool:
        """Insert a row, or update that of the holder that was seen."""
        with self._engine.begin() as connection:
            values = {**row, "study": study, "beat": _now(connection)}
            if instead_of is not None:
                theirs = (_LEASES.c.study == study, _LEASES.c.token == instead_of["token"])
                return connection.execute(update(_LEASES).where(*theirs).values(values)).rowcount == 1
            with suppress(IntegrityError):  # another driver was quicker
                connection.execute(insert(_LEASES).values(values))
                return True
            return False

    def beat(self, study: str, token: str) -> None:
        """Write the database's time."""
        with suppress(SQLAlchemyError), self._engine.begin() as connection:  # the next beat may do
            own = (_LEASES.c.study == study, _LEASES.c.token == token)
            connection.execute(update(_LEASES).where(*own).values(beat=_now(connection)))

    def give_back(self, study: str, token: str) -> None:
        """Delete the row; one that stays counts as dead."""
        with suppress(SQLAlchemyError), self._engine.begin() as connection:
            own = (_LEASES.c.study == study, _LEASES.c.token == token)
            connection.execute(delete(_LEASES).where(*own))

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()


def holder_in(connection: Connection, study: str, *, lock: bool = False) -> Row | None:
    """Return who holds a study; with `lock` no other driver changes that before the transaction's end."""
    query = select(_LEASES).where(_LEASES.c.study == study)
    row = connection.execute(query.with_for_update(read=True) if lock else query).mappings().first()
    if row is None:
        return None
    return {
        **{name: row[name] for name in NAMES},
        "beat": row["beat"],
        "silent_s": _now(connection) - row["beat"],
    }


def end_if_idle(connection: Connection) -> None:
    """Let a server end the transaction that begins if it stands still: others wait for its locks."""
    if connection.dialect.name == POSTGRES:
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * IDLE_S)}")


def _now(connection: Connection) -> float:
    """Return the database's clock in seconds; only differences are meaningful."""
    now: datetime = connection.execute(select(func.current_timestamp())).scalar_one()
    return now.replace(tzinfo=now.tzinfo or UTC).timestamp()
