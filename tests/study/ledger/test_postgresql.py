"""A search with its ledger on a real PostgreSQL server and a real MLflow server on it that asks who we are."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.cli.app import run as run_here
from pipeline.study.ledger import hold
from tests.kit.gate import patched
from tests.kit.postgres import PASSWORD, Server, binaries, check_ledger, free_port, wait_for
from tests.kit.toy import command, environment, on_one_core, write_task

TRIALS = 3
WHO, MLFLOW_WORD = "admin", "mlflow-s3cr3t-word"
SECRETS = (PASSWORD, MLFLOW_WORD, base64.b64encode(f"{WHO}:{MLFLOW_WORD}".encode()).decode())

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here (apt-get install postgresql)"),
    pytest.mark.timeout(400),
]


@contextmanager
def mlflow_server(database: str, folder: Path, port: int) -> Iterator[Path]:
    """A real one, with basic authentication; gives its log."""
    folder.mkdir()
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = {WHO}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    line += ["--workers", "1", "--app-name", "basic-auth", "--backend-store-uri", database]
    line += ["--artifacts-destination", str(folder / "artifacts")]
    env = environment() | {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "PGPASSWORD": PASSWORD}
    env |= {"MLFLOW_AUTH_ADMIN_PASSWORD": MLFLOW_WORD, "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32}
    env |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder / "log"
    with log.open("wb") as file:
        running = subprocess.Popen(
            line, env=env, stdout=file, stderr=file, cwd=folder, start_new_session=True
        )
        try:
            wait_for(lambda: answers(port), 90, log.read_text)
            yield log
        finally:
            os.killpg(running.pid, 15)
            running.wait(30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except OSError:
        return False


def test_a_search_waits_for_its_database_and_prints_no_secret(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create("ledger")
    server.create("mlflow")
    task, store, port = write_task(tmp_path / "task", rows=320), tmp_path / "store", free_port()
    tracking = f"http://127.0.0.1:{port}"
    asked = [
        "search", "--task", str(task), "--space", str(task.parent / "quick.toml"), "--name", "toy",
        "--store", str(store), "--trials", str(TRIALS), "--concurrent", "1", "--latency-grid", "none",
        "--scheduler", "none", "--ledger", server.url("ledger"), "--tracking", tracking,
    ]  # fmt: skip
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    heard = tmp_path / "heard"
    with mlflow_server(server.url("mlflow"), tmp_path / "mlflow", port) as log:
        assert run_here(asked) == 2, "MLflow does not know us"
        stranger = capfd.readouterr()
        assert "MLFLOW_TRACKING_USERNAME" in stranger.err
        assert not store.exists()

        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", WHO)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", MLFLOW_WORD)
        with heard.open("w") as file:
            search = subprocess.Popen(
                command(*asked),
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                preexec_fn=on_one_core,
            )
        wait_for(lambda: list(store.glob("studies/toy/trials/*/record.json")), 120, heard.read_text)
        server.stop()
        wait_for(lambda: "Trying again in" in heard.read_text(), 60, heard.read_text)
        server.start()
        printed, said = search.communicate(timeout=200)[0], heard.read_text()
        assert search.returncode == 0, said
        assert f"postgresql://127.0.0.1:{server.port}/ledger cannot be used" in said
        check_ledger(server, "ledger", TRIALS)
        where = ["--store", str(store), "--ledger", server.url("ledger"), "--tracking", tracking]
        assert run_here(["studies", "--sync", *where]) == 0
        synced = capfd.readouterr()
        check_mlflow(tracking)
        texts = [*stranger, *synced, printed, said, log.read_text()]
    for secret in SECRETS:
        assert not [text for text in texts if secret in text]
        held = [p for p in store.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
        assert not held
    assert tracking in printed


def check_mlflow(tracking: str) -> None:
    client = MlflowClient(tracking)
    (experiment,) = [e for e in client.search_experiments() if "toy" in e.name]
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert sorted(int(run.data.tags["prunefront.trial"]) for run in children) == list(range(TRIALS))
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == TRIALS + 1


def test_a_lease_is_held_on_a_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    server.create("leases")
    url = server.url("leases")
    with hold(url, "toy"):
        with pytest.raises(ValueError, match=f"process {os.getpid()}"), hold(url, "toy"):
            pass
        with hold(url, "other"):
            pass
    with hold(url, "toy"):
        pass


@pytest.mark.parametrize(
    ("word", "database", "says"),
    [("wrong-w0rd", "postgres", "password authentication failed"), (PASSWORD, "nowhere", "does not exist")],
)
def test_a_database_that_cannot_be_opened_is_refused(
    server: Server, tmp_path: Path, word: str, database: str, says: str
) -> None:
    refused(server.url(database, password=word), tmp_path, word, says)


def test_a_server_that_is_down_is_refused(server: Server, tmp_path: Path) -> None:
    nobody = server.url("ledger", password=PASSWORD).replace(f":{server.port}/", f":{free_port()}/")
    refused(nobody, tmp_path, PASSWORD, "refused")


def refused(url: str, folder: Path, word: str, says: str) -> None:
    with pytest.raises(ValueError, match="PGPASSWORD") as refusal, hold(url, "toy"):
        pass
    assert says in str(refusal.value)
    assert word not in str(refusal.value)
    assert not list(folder.iterdir())


def test_a_database_that_stays_away_ends_the_search_which_goes_on_later(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create("away")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    task, store = write_task(tmp_path / "task", rows=120), tmp_path / "store"
    asked = [
        "search", "--task", str(task), "--space", str(task.parent / "quick.toml"), "--name", "toy",
        "--store", str(store), "--trials", str(TRIALS), "--concurrent", "1", "--latency-grid", "none",
        "--scheduler", "none", "--ledger", server.url("away"),
    ]  # fmt: skip
    hasty = patched(
        asked, "from pipeline.driver.search import trial_source", "trial_source.RETRY_PAUSES_S = (0.5, 0.5)"
    )
    heard = tmp_path / "heard"
    try:
        with heard.open("w") as file:
            first = subprocess.Popen(
                hasty, env=environment(), stdout=file, stderr=file, preexec_fn=on_one_core
            )
        wait_for(lambda: list(store.glob("studies/toy/trials/*/record.json")), 150, heard.read_text)
        server.stop()
        code, said = first.wait(120), " ".join(heard.read_text().split())
        assert code == 1, said
        assert "Trying again in 0.5 s" in said
        assert "the same command goes on, and nothing is done twice" in said
        again = subprocess.run(hasty, env=environment(), capture_output=True, text=True, timeout=60)
        assert again.returncode == 1, again.stderr
        assert "Start the server" in again.stderr
        assert "starting Ray" not in again.stderr
    finally:
        server.start()
    before = {path: path.read_bytes() for path in store.glob("studies/toy/trials/*/record.json")}
    last = subprocess.run(
        hasty, env=environment(), capture_output=True, text=True, timeout=200, preexec_fn=on_one_core
    )
    assert last.returncode == 0, last.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert PASSWORD not in heard.read_text() + again.stderr + last.stderr
    check_ledger(server, "away", TRIALS)
