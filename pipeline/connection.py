"""A connection to MLflow: the only room that imports it. What it is used for is in `tracking`."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.addresses import cause_of, shown
from pipeline.published import Status, Value
from pipeline.records import BadInput
from pipeline.store import Store

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow import MlflowClient

# Read by MLflow at each call; ours unless the user has set them. No calls home, nothing printed; and a server that
# is lost in mid-study holds the driver, which runs the trials, for half a minute and not for many.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LOOKING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}  # for a server
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
PAGE = 1000  # runs read at once
BATCH = 900  # values written at once: MLflow takes 1000 values, parameters and tags together
HINTS = {
    "401": ": set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "403": ": may we write there? A server called by a name needs it in its --allowed-hosts",
    "404": ": is it an MLflow server?",
}


class TrackingLost(RuntimeError):  # noqa: N818 (a fact about a server, not a fault of the program)
    """MLflow did not take or give something. A study goes on without it; its next start makes up for it."""


@final
@dataclass(frozen=True)
class Run:
    """A run in MLflow; `milliseconds` since 1970 is when it began."""

    id: str
    status: str  # RUNNING, FINISHED, FAILED, KILLED
    milliseconds: int
    tags: Mapping[str, str]
    metrics: Mapping[str, float]  # the last of each


def connect(uri: str | None, *, store_root: Path) -> Connection:
    """Connects to MLflow: at `uri`, else at MLFLOW_TRACKING_URI, else a database in the store, made if it is new.

    Artifacts of a database go to the store, those of a server where it keeps them.

    Raises:
        BadInput: it cannot be reached within some seconds, or is no place for runs.
    """
    store = Store(store_root)
    ours = f"sqlite:///{store.mlflow_db}"
    address = uri or os.environ.get("MLFLOW_TRACKING_URI") or ours
    scheme = address.partition("://")[0] if "://" in address else "file"
    if scheme == "file":
        raise BadInput(
            f"MLflow keeps runs in a database or on a server; {address} is a folder. Give --tracking a URI such as "
            f"{ours} or http://127.0.0.1:5000."
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient

        with _environment(LOOKING), _quiet():
            client = MlflowClient(address)
            client.search_experiments(max_results=1)
    except Exception as error:
        # what MLflow is made of raises its own: requests, SQLAlchemy, database drivers
        raise BadInput(
            f"Trials are published to MLflow; {shown(address)} does not let us ({_cause(error, address)}). Start the "
            "server, correct --tracking (or MLFLOW_TRACKING_URI), or leave both out for a database in the store."
        ) from None  # the chain would show the address with its password
    database = scheme.partition("+")[0] in DATABASES
    return Connection(client, address, artifacts=store.artifacts if database else None)


@final
class Connection:
    """An MLflow server or database. Every method may raise TrackingLost."""

    def __init__(self, client: MlflowClient, address: str, *, artifacts: Path | None) -> None:
        self._client = client
        self._address = address
        self._artifacts = artifacts

    def experiment(self, name: str) -> str:
        """The id of an experiment, made if it is new.

        Raises:
            BadInput: it was deleted, or its artifacts cannot be where they were.
        """
        from mlflow.exceptions import MlflowException

        with self._asking():
            known = self._client.get_experiment_by_name(name)
            if known is None:
                location = None if self._artifacts is None else self._artifacts.as_uri()
                try:
                    return str(self._client.create_experiment(name, location))
                except MlflowException:  # another study of the task was quicker, or it is lost
                    known = self._client.get_experiment_by_name(name)
                    if known is None:
                        raise
        if known.lifecycle_stage != "active":
            raise BadInput(
                f"Studies of a task share an experiment; {name!r} was deleted in MLflow. Restore it (`mlflow "
                f"experiments restore -x {known.experiment_id}`) or end it for good (`mlflow gc`)."
            )
        _check_location(name, str(known.artifact_location))
        return str(known.experiment_id)

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Sets those tags of an experiment that are not so yet."""
        with self._asking():
            known = self._client.get_experiment(experiment_id).tags
            for key, value in tags.items():
                if known.get(key) != value:
                    self._client.set_experiment_tag(experiment_id, key, value)

    def runs(self, experiment_id: str, *, tag: str, value: str) -> list[Run]:
        """All runs with a tag, the oldest first. `value` has no quotes in it."""
        found: list[Run] = []
        token = None
        with self._asking():
            while True:
                page = self._client.search_runs(
                    [experiment_id],
                    f"tags.`{tag}` = '{value}'",
                    max_results=PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                found += [_run(run) for run in page]
                token = page.token
                if not token:
                    return found

    def begin(self, experiment_id: str, *, name: str, tags: Mapping[str, str], seconds: float = 0.0) -> Run:
        """A new run, which began so many seconds ago."""
        start = now() - round(1000 * seconds)
        with self._asking():
            return _run(self._client.create_run(experiment_id, start, dict(tags), name))

    def reopen(self, run: Run) -> None:
        """A run goes on that had ended, or whose driver died."""
        with self._asking():
            self._client.update_run(run.id, status="RUNNING")

    def write(self, run_id: str, values: Sequence[Value], *, params: Mapping[str, str] | None = None) -> None:
        """Numbers and parameters, in one call if they are not very many."""
        from mlflow.entities import Metric, Param

        metrics = [Metric(v.key, v.value, v.milliseconds, v.step) for v in values]
        first = [Param(key, value) for key, value in (params or {}).items()]
        with self._asking():
            for at in range(0, max(len(metrics), 1), BATCH):
                self._client.log_batch(run_id, metrics[at : at + BATCH], first if at == 0 else [])

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        from mlflow.entities import RunTag

        with self._asking():
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    @contextmanager
    def artifacts(self, run_id: str) -> Iterator[Path]:
        """A folder whose files become a run's artifacts when it is left."""
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
            with self._asking():
                self._client.log_artifacts(run_id, folder)

    @contextmanager
    def fetched(self, run_id: str, *names: str) -> Iterator[Path]:
        """A folder with some of a run's artifacts."""
        with tempfile.TemporaryDirectory() as folder:
            with self._asking():
                for name in names:
                    self._client.download_artifacts(run_id, name, folder)
            yield Path(folder)

    def end(self, run_id: str, status: Status, *, milliseconds: int | None = None) -> None:
        """A run ends, now or at a time."""
        with self._asking():
            self._client.set_terminated(run_id, status, milliseconds)

    def delete(self, run_id: str) -> None:
        """A run goes into MLflow's bin."""
        with self._asking():
            self._client.delete_run(run_id)

    def page(self, experiment_id: str, run_id: str) -> str:
        """How to look at a run: its page on a server; for a database, the command that starts one, too."""
        path = f"/#/experiments/{experiment_id}/runs/{run_id}"
        if self._artifacts is None:
            return shown(self._address).rstrip("/") + path
        return f"mlflow ui --backend-store-uri {shown(self._address)}, then http://127.0.0.1:5000{path}"

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turns what MLflow's parts raise into TrackingLost."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingLost(f"MLflow at {shown(self._address)}: {_cause(error, self._address)}") from None


def now() -> int:
    """Milliseconds since 1970."""
    return round(1000 * time.time())


def _run(run: mlflow.entities.Run) -> Run:
    info, data = run.info, run.data
    return Run(info.run_id, info.status, info.start_time, dict(data.tags), dict(data.metrics))


def _check_location(name: str, location: str) -> None:
    """Refuses an experiment whose folder of artifacts has gone with its store."""
    if not location.startswith("file://"):
        return
    folder = Path(url2pathname(urlsplit(location).path))
    if not folder.parent.exists():
        raise BadInput(
            f"MLflow keeps whole paths; the artifacts of {name!r} are in {folder}, and {folder.parent} is not there. "
            "Was the store moved? Move it back, link its old place to the new one, or name another --tracking."
        )


def _cause(error: BaseException, address: str) -> str:
    """What went wrong, without secrets; of a server's refusal its status, and what that is mostly due to."""
    status = re.search(r"error code (\d{3})", str(error))
    if status is None:
        return cause_of(error, address)
    return f"it answers with HTTP status {status[1]}{HINTS.get(status[1], '')}"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """What MLflow has to say while it opens a database is for its developers.

    It logs how it makes its tables (where it was imported before ENVIRONMENT was set), and it uses an option that
    SQLAlchemy 2.1 warns will go.
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
