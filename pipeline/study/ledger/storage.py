"""The addresses of ledgers, and what goes wrong with them: secrets are never shown."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from pipeline.study.records import BadInput
from pipeline.study.store import JOURNAL, SQLITE_FULL

BUSY_TIMEOUT_S = 60  # how long sqlite waits for another process's write
CONNECT_S = 10  # how long a server may take to answer; libpq alone waits for minutes
POSTGRES = "postgresql"
REFUSALS = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "pg_hba.conf",
)  # PostgreSQL's words
# scheme://user:password@host:port/database?options, where a part that may be secret is nowhere else
_PLAIN_URL = re.compile(
    r"(?P<scheme>[\w+]+)://(?:[^/@?:]*(?::(?P<password>[^@?]*))?@)?"
    r"(?P<place>[^/@?:]*(?::\d+)?(?:/[^@?:]*)?)(?:\?(?P<options>[^@]*))?"
)


class NotOpened(BadInput):
    """The ledger's database cannot be opened. `refused`: it answers, and refuses this user, password or name."""

    refused = False


class LeaseLost(RuntimeError):  # noqa: N818 (a fact, not a fault of the program)
    """Another driver has taken the study over: this one may not write any more."""


class LedgerLost(RuntimeError):  # noqa: N818 (a fact about a database, not a fault of the program)
    """The ledger's database does not answer. Nothing is half-done: the same call, later, completes it."""

    @property
    def disk_full(self) -> bool:
        """Whether it is a file on a full disk: waiting does not help."""
        return any(words in str(self) for words in (SQLITE_FULL, os.strerror(errno.ENOSPC)))


class CommitsLost(LedgerLost):
    """The ledger's database has lost trials that it had, as after a fail-over: the next start writes them again."""


def cannot_open(url: str, error: Exception) -> NotOpened:
    """Return the error for a ledger that cannot be opened, without the secrets of its URL."""
    if isinstance(error, ImportError) and url.startswith(POSTGRES):
        way_out = "Install its driver: pip install 'prunefront[postgresql]'."
    elif "database is locked" in str(error.__cause__ or error):
        way_out = (
            f"In {BUSY_TIMEOUT_S} s another program did not let go of it (a backup, a browser of databases, a "
            "program that hangs): end that one, then give the same command."
        )
    elif url.startswith(JOURNAL):
        way_out = f"Give a folder that can be written, in one that exists: {JOURNAL}/shared/ledger."
    elif url.startswith("sqlite"):
        way_out = (
            "Give a URL such as sqlite:////folder/studies.db, in a folder that exists and can be written."
        )
    else:
        way_out = (
            f"Start the server, or correct --ledger; of a database server it is {POSTGRES}://USER@HOST/DATABASE, with "
            "the password in PGPASSWORD, of a file sqlite:////folder/studies.db."
        )
    found = NotOpened(
        f"The ledger is a database that Optuna can open; {shown(url)} cannot be opened ({cause_of(error, url)}). "
        f"{way_out}"
    )
    found.refused = isinstance(error, ImportError) or any(word in cause_of(error, url) for word in REFUSALS)
    return found


def require_folder(folder: Path) -> None:
    """Check that files can be made in a folder.

    Raises:
        OSError: it is not there, is a file, or cannot be written.
    """
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Turn the errors of the database's libraries into LedgerLost."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise LedgerLost(
            f"Every trial is drawn and ended in the ledger; {shown(url)} cannot be used "
            f"({cause_of(error, url)}). Trials that have ended are in the store: when the ledger answers "
            "again, the same command goes on, and nothing is done twice."
        ) from None  # the chain would show the URL with its password


def engine_options(url: str, *, pooled: bool = True) -> dict[str, Any]:
    """Return SQLAlchemy's options for a database; `pooled`: connections are kept for the next use."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    # a server may have dropped a connection that was idle for a trial's time
    options: dict[str, Any] = {"pool_pre_ping": True} if pooled else {}
    if url.startswith(POSTGRES) and "connect_timeout" not in url:
        options["connect_args"] = {"connect_timeout": CONNECT_S}
    return options


def driver_url(url: str) -> str:
    """Return the URL with the driver of our dependencies, where it names none."""
    return (
        url.replace(f"{POSTGRES}://", f"{POSTGRES}+psycopg://", 1)
        if url.startswith(f"{POSTGRES}://")
        else url
    )


def shown(url: str) -> str:
    """Return the URL without user, password and options; nothing of it if it is not plain where those end."""
    if url.startswith(JOURNAL):  # a path
        return url
    match = _PLAIN_URL.fullmatch(url)
    return f"{match['scheme']}://{match['place']}" if match else "the URL given"


def cause_of(error: Exception, url: str) -> str:
    """Return the kind and first line of an error; without the text if that might reveal a secret."""
    cause = error.__cause__ or error
    # the database driver's error: SQLAlchemy may add lines before it
    cause = getattr(cause, "orig", None) or cause
    name = type(cause).__name__
    match = _PLAIN_URL.fullmatch(url)
    if url.startswith(JOURNAL):
        return f"{name}: {cause}"
    if match is None:
        return name
    secrets = [match["password"] or "", *(value for _, value in parse_qsl(match["options"] or ""))]
    line = (str(cause).splitlines() or [""])[0]
    revealed = any(secret and (secret in line or unquote(secret) in line) for secret in secrets)
    return name if revealed else f"{name}: {line}"
