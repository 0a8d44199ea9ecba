"""Open MLflow, at a server or a database. Only this file and `connection` import mlflow."""

from __future__ import annotations

import logging
import os
import re
import socket
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib import request
from urllib.parse import urlsplit

from pipeline.driver.tracking.addresses import shown
from pipeline.driver.tracking.busy import PatientClient
from pipeline.driver.tracking.connection import Connection, cause
from pipeline.driver.tracking.relocation import OwnDatabase
from pipeline.study.records import BadInput
from pipeline.study.store import LATER, Store, sqlite_file, sqlite_url

LOGGING = "MLFLOW_LOGGING_LEVEL"
# Read by MLflow at each call; ours unless the user has set them. No telemetry, no output; and a server that is lost in
# mid-study blocks the publisher for half a minute instead of many.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    LOGGING: "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
PORTS = {
    "postgresql": 5432,
    "mysql": 3306,
    "mssql": 1433,
}  # of databases on a host, where the address has none
DATABASES = ("sqlite", *PORTS)
VARIABLE = "MLFLOW_TRACKING_URI"
ANSWER_S = 5.0  # for a database's host to take a connection


class NoAnswer(BadInput):
    """No server or database answers at an address that is of the right kind."""


def connect(uri: str | None, *, store_root: Path) -> Connection:
    """Connect to MLflow at `uri`, else at MLFLOW_TRACKING_URI, else to a database in the store, created if it is new.

    Artifacts of a database go to the store, those of a server where it keeps them.

    Raises:
        NoAnswer: it cannot be reached within some seconds.
        BadInput: the address is no place for runs.
    """
    store = Store(store_root)
    ours = sqlite_url(store.mlflow_db)
    address = address_of(uri, store_root=store_root)
    scheme = address.partition("://")[0] if "://" in address else "file"
    source = (
        VARIABLE if address == os.environ.get(VARIABLE) else "--tracking"
    )  # a command's option reads it, too
    given = f"{source} is {shown(address) if '://' in address else address}"
    if re.match(r"(databricks|uc)\b", address):
        raise BadInput(
            f"{given}: Databricks, whose log-in is its own, is not supported. Trials are published to "
            f"an MLflow database or server. Give --tracking another URI such as {ours}, and copy the "
            "runs there when the study has ended."
        )
    if scheme == "file":
        raise BadInput(
            f"{given}, a folder. MLflow keeps runs in a database or on a server. Give --tracking a "
            f"URI such as {ours} or http://127.0.0.1:5000."
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if os.environ[LOGGING] == ENVIRONMENT[LOGGING]:
        # it logs every error of a database with a page of its stack; ours has the cause
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        from mlflow import MlflowClient

        with _environment(FIRST_CONTACT), _quiet():
            _reach_host(address)
            if (file := sqlite_file(address)) is not None:
                _keep_from_making_folders()
                if not file.exists():
                    _make_database(file, artifacts=store.artifacts)
            client = MlflowClient(address)
            client.search_experiments(max_results=1)
    except Exception as error:
        # MLflow's libraries raise their own errors: requests, SQLAlchemy, database drivers
        raise NoAnswer(
            f"Trials are published to MLflow; {shown(address)} cannot be used ({cause(error, address)}). Start the "
            f"server, correct --tracking (or {VARIABLE}), or leave both out for a database in the store."
            f"{_proxy(address)}"
        ) from None  # the chain would show the address with its password
    database = scheme.partition("+")[0] in DATABASES
    artifacts = store.artifacts if database else None
    own = OwnDatabase(ours, store.artifacts) if address == ours else None
    return Connection(cast("MlflowClient", PatientClient(client)), address, artifacts=artifacts, own=own)


def address_of(uri: str | None, *, store_root: Path) -> str:
    """Return MLflow's address: `uri`, else MLFLOW_TRACKING_URI, else a database in the store."""
    given = uri or os.environ.get(VARIABLE)
    return given if given and given != LATER else sqlite_url(Store(store_root).mlflow_db)


def _reach_host(address: str) -> None:
    """Ask whether a database's host takes connections: MLflow would try it for minutes.

    Raises:
        OSError: it does not.
        sqlalchemy.exc.ArgumentError, ValueError: the address cannot be read.
    """
    from sqlalchemy import make_url

    driver = address.partition("://")[0].partition("+")[0]
    if driver not in PORTS:
        return
    url = make_url(address)
    if url.host and "," not in url.host and not url.host.startswith(("/", "%2F")):
        with socket.create_connection((url.host, url.port or PORTS[driver]), timeout=ANSWER_S):
            pass


def _proxy(address: str) -> str:
    """Return a sentence on the proxy that stands between a server and this machine, if there is one."""
    try:
        url = urlsplit(address)
    except ValueError:  # it is no address: that is said
        return ""
    if url.scheme not in ("http", "https") or url.scheme not in request.getproxies_environment():
        return ""
    if not url.hostname or request.proxy_bypass_environment(url.hostname):  # type: ignore[attr-defined]
        return ""
    return (
        f" {url.scheme}_proxy is set: if the server is reached without it, name {url.hostname} in no_proxy."
    )


def _keep_from_making_folders() -> None:
    """Keep MLflow from making the folder of a database: of a path with ? or % it makes another one, beside it."""
    from mlflow.store.db import utils

    utils._make_parent_dirs_if_sqlite = lambda db_uri: None  # noqa: ARG005 (MLflow's name)


def _make_database(file: Path, *, artifacts: Path) -> None:
    """Create a database, whole or not at all.

    MLflow creates it table by table: opening one that another driver is creating, or died in, fails.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".mlflow-") as folder:
        part = Path(folder) / file.name
        with _without_waiting(part):
            SqlAlchemyStore(sqlite_url(part), artifacts.as_uri()).engine.dispose()  # type: ignore[no-untyped-call]
        with part.open("rb") as whole:
            os.fsync(whole.fileno())
        try:
            os.link(part, file)
        except FileExistsError:
            pass  # another driver was quicker: its database stays
        except OSError:  # a file system without hard links
            part.rename(file)


@contextmanager
def _without_waiting(file: Path) -> Iterator[None]:
    """Write to a new sqlite file without a flush per step: MLflow creates its tables in a hundred steps."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection: Any, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return  # of another thread
        opened = connection.execute("PRAGMA database_list").fetchone()[2]
        if Path(opened).parent.name == file.parent.name:  # its name has a random part
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set other values of environment variables within the context; all of them are set before."""
    before = {name: os.environ[name] for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence MLflow while it opens a database.

    It logs how it creates its tables (if it was imported before ENVIRONMENT was set), and it uses an option about
    which SQLAlchemy 2.1 warns.
    """
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in ("mlflow", "alembic")}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="The ``noload`` loader strategy", category=DeprecationWarning
            )
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
