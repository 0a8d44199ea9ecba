"""MLflow that is busy: deadlocks, locks, 429 and 5xx are asked again, and what was carried out twice is there once."""

from __future__ import annotations

import gc
import sqlite3
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError
from werkzeug.serving import make_server

from pipeline.driver.tracking import busy, open_tracking
from pipeline.driver.tracking.busy import is_busy, patiently
from pipeline.driver.tracking.published import SPEC as SPEC_TAG
from pipeline.driver.tracking.published import TRIAL
from tests.kit.tracking import PROVENANCE, SPEC, trials

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy"
)  # MLflow's, of SQLAlchemy 2.1


class Deadlock(Exception):  # noqa: N818 (as psycopg names it)
    sqlstate = "40P01"


def refused(cause: Exception) -> MlflowException:
    """As MLflow tells of a database's refusal."""
    error = MlflowException("BAD_REQUEST")
    error.__cause__ = OperationalError("UPDATE", {}, cause)
    return error


@pytest.mark.parametrize(
    ("error", "busy"),
    [
        (refused(Deadlock("deadlock detected")), True),
        (refused(sqlite3.OperationalError("database is locked")), True),
        (refused(Exception("(1205, 'Lock wait timeout exceeded; try restarting transaction')")), True),
        (MlflowException("(psycopg.errors.SerializationFailure) could not serialize access"), True),
        (refused(sqlite3.OperationalError("database or disk is full")), False),
        (MlflowException("RESOURCE_DOES_NOT_EXIST"), False),
        (ValueError("x"), False),
    ],
)
def test_deadlocks_and_locks_are_known(error: Exception, busy: bool) -> None:
    assert is_busy(error) is busy


def test_a_busy_database_is_asked_again_and_another_error_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "PAUSES_S", (0.0, 0.0))
    asked: list[int] = []

    def refuses(times: int, error: Exception) -> Callable[[], int]:
        def call() -> int:
            asked.append(1)
            if len(asked) <= times:
                raise error
            return len(asked)

        return call

    assert patiently(refuses(2, refused(Deadlock()))) == 3
    asked.clear()
    with pytest.raises(MlflowException):
        patiently(refuses(3, refused(Deadlock())))
    assert len(asked) == 3
    asked.clear()
    with pytest.raises(ValueError, match="x"):
        patiently(refuses(1, ValueError("x")))
    assert len(asked) == 1


def test_a_trial_is_published_through_locks(tmp_path: Path, mlflow_database: Path) -> None:
    """Another program holds the database's lock for a while, longer than sqlite waits."""
    file = tmp_path / "mlflow.db"
    file.write_bytes(mlflow_database.read_bytes())
    tracker = open_tracking(f"sqlite:///{file}", store_root=tmp_path)
    tracker.start_study(SPEC, provenance=PROVENANCE)
    client = tracker._mlflow._client._client  # type: ignore[attr-defined]
    log_batch, left = client.log_batch, [2]

    def locked(*arguments: Any, **options: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise refused(sqlite3.OperationalError("database is locked"))
        log_batch(*arguments, **options)

    client.log_batch = locked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(busy, "PAUSES_S", (0.01, 0.01))
        tracker.publish(trials()[0])
    assert tracker.published() == {0: "complete"}


class Flaky:
    """A server that answers each kind of writing request with 429, then carries one out and says 503, then answers."""

    def __init__(self, app: Any) -> None:
        self.app, self.turns = app, Counter[str]()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        place = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "GET" or place.endswith("/search"):
            return self.app(environ, start)
        turn = self.turns[place] % 3
        self.turns[place] += 1
        if turn == 2:
            return self.app(environ, start)
        if turn == 1:
            list(self.app(environ, lambda *_: None))
        start("429 Too Many Requests" if turn == 0 else "503 Service Unavailable", [("Content-Length", "0")])
        return []


@pytest.fixture
def flaky(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Flaky]]:
    """An MLflow server in this process."""
    file = tmp_path / "server.db"
    file.write_bytes(mlflow_database.read_bytes())
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", ""
    )  # the server writes its own address there: it goes with the test
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{file}")
    (tmp_path / "artifacts").mkdir()
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (tmp_path / "artifacts").as_uri())
    for name in ("FACTOR", "JITTER"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_BACKOFF_{name}", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own server's parts, which it imports when it needs them
        import mlflow.server.auth  # noqa: F401
        from mlflow.server import app, handlers

    monkeypatch.setattr(handlers, "_tracking_store", None)
    found = Flaky(app.wsgi_app)
    server = make_server("127.0.0.1", 0, found, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        with warnings.catch_warnings():  # sockets of its threads that nobody closed: not in a later test
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def test_what_a_server_has_carried_out_twice_is_there_once(flaky: tuple[str, Flaky], tmp_path: Path) -> None:
    address, server = flaky
    tracker = open_tracking(address, store_root=tmp_path)
    tracker.start_study(SPEC, provenance=PROVENANCE)
    for one in trials()[:2]:
        tracker.publish(one)
    tracker.finish_study("complete")
    assert server.turns["/api/2.0/mlflow/runs/create"] == 9, (
        "three runs, each asked for three times, made twice"
    )
    client = MlflowClient(address)
    (experiment,) = [each for each in client.search_experiments() if each.name == "prunefront/glue/toy"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags.get(TRIAL, "study") for run in runs) == ["0", "1", "study"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    (study,) = [run for run in runs if SPEC_TAG in run.data.tags]
    for run in runs:
        if run is not study:
            assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
            steps = client.get_metric_history(run.info.run_id, "metric")
            assert len({(each.step, each.timestamp) for each in steps}) == len(steps)
