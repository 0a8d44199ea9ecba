"""A connection to MLflow: what is refused, how quickly, in which words; and a real server."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from pipeline.driver.tracking import opening
from pipeline.driver.tracking.connection import TrackingLost
from pipeline.driver.tracking.opening import ENVIRONMENT, FIRST_CONTACT, connect
from pipeline.driver.tracking.tracker import open_tracking
from pipeline.study.records import BadInput
from tests.kit.databases import made_by_mlflow
from tests.kit.mlflow_server import mlflow_server
from tests.kit.ports import free_port
from tests.kit.tracking import PROVENANCE, SPEC, same, trials

SECRET = "s3cret-w0rd"
A_FEW_SECONDS = 20.0  # one try of five seconds; the libraries of their own try for minutes


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(opening, "_make_database", made_by_mlflow)


def refusal(uri: str | None, root: Path) -> str:
    """The message of a refusal; that it comes quickly and shows no secret is part of it."""
    start = time.monotonic()
    with pytest.raises(BadInput) as refused:
        connect(uri, store_root=root)
    assert time.monotonic() - start < A_FEW_SECONDS
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    return str(refused.value)


def test_an_unreachable_server_is_refused_quickly(tmp_path: Path) -> None:
    message = refusal(f"http://user:{SECRET}@127.0.0.1:{free_port()}", tmp_path)
    assert "ConnectionRefusedError" in message
    assert "--tracking" in message
    # the haste was for the search of the server only
    assert {name: os.environ[name] for name in FIRST_CONTACT} == {
        name: ENVIRONMENT[name] for name in FIRST_CONTACT
    }


def test_an_address_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "correct --tracking" in refusal(f"http://user:{SECRET}@[::1", tmp_path)


def test_a_server_that_does_not_answer_is_refused_quickly(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        message = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert "127.0.0.1" in message


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_refuses_is_quoted(tmp_path: Path, status: int) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        message = refusal(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
        thread.join()
    assert f"HTTP status {status}" in message


def test_a_proxy_in_between_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert "http_proxy is set: if the server is reached without it, name 127.0.0.1 in no_proxy" in refusal(
        address, tmp_path
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "proxy" not in refusal(address, tmp_path)


def test_the_environment_names_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    assert f"http://127.0.0.1:{port} cannot be used" in refusal(None, tmp_path)


@pytest.mark.parametrize("uri", ["mlruns", "/some/where", "file:///some/where"])
def test_a_folder_is_refused_with_a_database_that_works(tmp_path: Path, uri: str) -> None:
    message = refusal(uri, tmp_path)
    assert uri in message
    assert f"sqlite:///{tmp_path / 'mlflow.db'}" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["databricks", "databricks://profile", "databricks-uc", "uc:main.models"])
def test_databricks_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    assert f"--tracking is {uri}: Databricks" in refusal(uri, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert f"MLFLOW_TRACKING_URI is {uri}: Databricks" in refusal(None, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///some/where", "nonsense://x", f"http://u:{SECRET}@127.0.0.1:9"]
)
def test_the_variable_is_named_where_it_is_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for given in (None, uri):  # the option of a command takes its value
        assert "MLFLOW_TRACKING_URI" in refusal(given, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "mssql"])
def test_a_database_whose_host_does_not_answer_is_refused_quickly(tmp_path: Path, scheme: str) -> None:
    """MLflow itself tries for a minute and a half."""
    message = refusal(f"{scheme}://user:{SECRET}@127.0.0.1:{free_port()}/db", tmp_path)
    assert "ConnectionRefusedError" in message


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database" * 100)
    assert "not a database" in refusal(f"sqlite:///{file}", tmp_path)
    assert file.read_text() == "no database" * 100


def test_a_database_without_its_driver_is_refused_with_the_drivers_name(tmp_path: Path) -> None:
    message = refusal(f"postgresql+pg8000://user:{SECRET}@127.0.0.1/db", tmp_path)
    assert "pg8000" in message


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for the tests that need no new database."""
    return tmp_path_factory.mktemp("store")


def test_artifacts_of_a_store_that_was_moved_go_on_inside_it(root: Path, tmp_path: Path) -> None:
    """Whether the old place is gone, or is another store's by now."""
    old, new, spec = tmp_path / "old", tmp_path / "new", replace(SPEC, task="moved")
    tracker = open_tracking(None, store_root=root)
    shutil.copytree(root, old)
    tracker = open_tracking(None, store_root=old)
    first = tracker.start_study(spec, provenance=PROVENANCE)
    shutil.copytree(old, new)
    kept = sorted(str(path) for path in old.rglob("*"))
    shutil.rmtree(old / "artifacts" / first)
    _artifact_repos_cache.clear()  # another process opens it
    moved = open_tracking(None, store_root=new)
    assert moved.start_study(spec, provenance=PROVENANCE) == first
    moved.publish(trials()[0])
    assert not (old / "artifacts" / first).exists()
    assert set(map(str, old.rglob("*"))) < set(kept)
    client = MlflowClient(f"sqlite:///{new / 'mlflow.db'}")
    for run in (first, moved.run_id(0)):
        assert client.get_run(run).info.artifact_uri == (new / "artifacts" / run / "artifacts").as_uri()
        assert (new / "artifacts" / run / "artifacts").is_dir()


def test_a_database_from_a_stranger_leads_to_no_place_outside_its_store(root: Path, tmp_path: Path) -> None:
    home, store = tmp_path / "home", tmp_path / "store"
    home.mkdir()
    open_tracking(None, store_root=root)
    shutil.copytree(root, store)
    spec = replace(SPEC, task="strange")
    tracker = open_tracking(None, store_root=store)
    run = tracker.start_study(spec, provenance=PROVENANCE)
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        database.execute("UPDATE runs SET artifact_uri = ?", (home.as_uri(),))
        database.execute("UPDATE experiments SET artifact_location = ?", (home.as_uri(),))
        database.commit()
    _artifact_repos_cache.clear()  # another process opens it
    tracker = open_tracking(None, store_root=store)
    assert tracker.start_study(spec, provenance=PROVENANCE) == run
    tracker.publish(trials()[0])
    assert not list(home.iterdir())


def test_another_database_whose_artifacts_are_gone_is_refused(root: Path, tmp_path: Path) -> None:
    open_tracking(None, store_root=root)
    database = f"sqlite:///{root / 'mlflow.db'}"
    client = MlflowClient(database)
    client.create_experiment("prunefront/gone", (tmp_path / "old" / "artifacts").as_uri())
    with pytest.raises(BadInput, match="Was the store moved"):
        open_tracking(database, store_root=tmp_path).start_study(
            replace(SPEC, task="gone"), provenance=PROVENANCE
        )


def test_a_deleted_experiment_is_refused_with_the_way_back(root: Path) -> None:
    spec = replace(SPEC, task="deleted")
    open_tracking(None, store_root=root).start_study(spec, provenance=PROVENANCE)
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("prunefront/deleted")
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(BadInput, match=f"restore -x {experiment.experiment_id}"):
        open_tracking(None, store_root=root).start_study(spec, provenance=PROVENANCE)
    client.restore_experiment(experiment.experiment_id)
    open_tracking(None, store_root=root).start_study(spec, provenance=PROVENANCE)


# Two processes that have imported the same, and neither has opened anything.
AT_ONCE = """
import sys
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from pipeline.driver.tracking.tracker import open_tracking
from tests.kit.tracking import PROVENANCE, SPEC, trials

def drive(name):
    tracker = open_tracking(None, store_root=Path(sys.argv[1]))
    tracker.start_study(replace(SPEC, name=name), provenance=PROVENANCE)
    tracker.publish(trials()[0])
    tracker.finish_study("complete")

drivers = [get_context("fork").Process(target=drive, args=(name,)) for name in ("one", "two")]
for driver in drivers:
    driver.start()
for driver in drivers:
    driver.join()
raise SystemExit([driver.exitcode for driver in drivers] != [0, 0])
"""


def test_drivers_that_make_the_database_at_once_share_it_and_print_nothing(tmp_path: Path) -> None:
    drivers = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_ONCE, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
    )
    assert (drivers.stdout, drivers.stderr, drivers.returncode) == (b"", b"", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "mlflow.db"]
    for name in ("one", "two"):
        tracker = open_tracking(None, store_root=tmp_path)
        tracker.start_study(replace(SPEC, name=name), provenance=PROVENANCE)
        assert tracker.published() == {0: "complete"}


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    open_tracking(None, store_root=tmp_path).start_study(SPEC, provenance=PROVENANCE)
    assert (tmp_path / "mlflow.db").exists()


@pytest.fixture
def server(
    tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real MLflow server: (address, process)."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    shutil.copy(mlflow_database, folder / "server.db")
    with mlflow_server(folder, port) as process:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", process


def test_a_server_takes_records_gives_them_back_and_may_be_lost(
    server: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, process = server
    tracker = open_tracking(address, store_root=tmp_path)
    run_id = tracker.start_study(SPEC, provenance=PROVENANCE)
    for one in trials()[:3]:
        tracker.publish(one)
    again = open_tracking(address, store_root=tmp_path)
    assert again.start_study(SPEC, provenance=PROVENANCE) == run_id
    assert again.published() == {0: "complete", 1: "complete", 2: "failed"}
    assert all(same(again.read_record(again.run_id(one.number)), one) for one in trials()[:3])
    assert again.page.startswith(f"{address}/#/experiments/")
    assert again.page.endswith(run_id)
    assert not list(tmp_path.iterdir())  # all of it is on the server

    os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingLost, match=r"Connection(Refused|Reset)Error"):
        again.publish(trials()[3])
    assert 3 not in again.published()


@pytest.mark.parametrize("name", ["q?x=1", "p%20q"])
def test_nothing_is_made_beside_a_store_with_an_odd_path(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    open_tracking(None, store_root=tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in (tmp_path / name).iterdir()] == ["mlflow.db"]
