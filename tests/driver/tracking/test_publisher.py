"""MLflow may go away: nothing is lost, nothing is there twice, the order stays, and nobody waits for it."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.driver.tracking import Publisher, open_tracking, sync
from pipeline.driver.tracking import publisher as room
from pipeline.driver.tracking.connection import Connection
from pipeline.driver.tracking.published import TRIAL
from pipeline.study.ledger import LeaseLost, LedgerLost, hold
from pipeline.study.records import BadInput
from pipeline.study.store import DataFacts, LedgerPlace, Store
from tests.kit.mlflow_server import mlflow_server
from tests.kit.ports import free_port
from tests.kit.synthetic import point, record, spec

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy"
)  # MLflow's, of SQLAlchemy 2.1
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    monkeypatch.setattr(room, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(room, "LONGEST_PAUSE_S", 0.5)


@pytest.fixture
def store(tmp_path: Path, mlflow_database: Path) -> Store:
    found = Store(tmp_path / "store")
    found.write_spec(spec())
    shutil.copy(mlflow_database, found.mlflow_db)
    return found


def courier(store: Store, address: str | None, may_write: Callable[[], None] = lambda: None) -> Publisher:
    reach = partial(open_tracking, address, store_root=store.root)
    return Publisher(
        spec(), store=store, open_tracker=reach, may_write=may_write, address=address or "the store"
    )


def end(store: Store, number: int, sent: Publisher | None = None) -> None:
    """A trial ends: each adds a point to the front."""
    store.study("toy").write_record(
        record(number, point(0.9 - 0.02 * number, 0.1 + 0.1 * number, kind="recovered"))
    )
    if sent is not None:
        began = time.monotonic()
        sent.enqueue(number)
        assert time.monotonic() - began < 2, "a trial waited for MLflow"


def wait(until: Callable[[], bool]) -> None:
    stop = time.monotonic() + WAIT_S
    while not until():
        assert time.monotonic() < stop
        time.sleep(0.05)


def delivered(client: MlflowClient) -> list[int]:
    """The trials in MLflow, in the order in which their runs were made; all of them have ended."""
    (experiment,) = [e for e in client.search_experiments() if e.name == "prunefront/toy"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    children = [run for run in runs if TRIAL in run.data.tags]
    assert {run.info.status for run in children} <= {"FINISHED"}
    (parent,) = [run for run in runs if TRIAL not in run.data.tags]
    steps = [m.step for m in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert steps == list(range(1, len(children) + 1)), (
        "the study's history has a step for each trial, in order"
    )
    order = [m.value for m in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert order == sorted(order)
    return sorted(int(run.data.tags[TRIAL]) for run in children)


def test_what_ends_is_delivered_in_the_background(store: Store) -> None:
    end(store, 0)  # of an earlier driver
    store.study("toy").data.write(DataFacts(rows={"train": 80}, shared={"validation+train": 3}))
    sent = courier(store, None)
    sent.start()
    for number in (1, 2):
        end(store, number, sent)
    assert sent.close("complete")
    assert sent.messages() == []
    assert delivered(MlflowClient(f"sqlite:///{store.mlflow_db}")) == [0, 1, 2]
    assert store.study("toy").outbox.read() is None


class Broken(http.server.BaseHTTPRequestHandler):
    """Answers everything with 500."""

    def answer(self) -> None:
        self.send_response(500)
        self.end_headers()

    do_GET = do_POST = do_PUT = answer  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def broken_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_answers_500_blocks_no_search_and_sync_delivers_later(store: Store) -> None:
    with broken_server() as address:
        with pytest.raises(BadInput, match="500"):
            open_tracking(address, store_root=store.root)
        sent = courier(store, address)
        sent.start()
        for number in (0, 1, 2):
            end(store, number, sent)
        wait(lambda: bool((said := sent.messages()) and "500" in said[0]))
        assert not sent.close("complete")
        outbox = store.study("toy").outbox.read()
        assert (outbox.address, outbox.trials, outbox.state) == (address, (0, 1, 2), "complete")
        (found,) = sync(store, tracking=address, ledger=None)  # still broken
        assert (found.delivered, found.complete) == (0, False)
    (found,) = sync(store, tracking=None, ledger=None)
    assert (found.delivered, found.complete) == (0, False)
    assert f"could not reach {address}: if that is right, give it by --tracking" in found.note
    ours = f"sqlite:///{store.mlflow_db}"
    (found,) = sync(store, tracking=ours, ledger=None)
    assert (found.study, found.delivered, found.complete, found.note) == ("toy", 3, True, "")
    (again,) = sync(store, tracking=ours, ledger=None)
    assert (again.delivered, again.complete) == (0, True)
    client = MlflowClient(ours)
    assert delivered(client) == [0, 1, 2]
    (experiment,) = [e for e in client.search_experiments() if e.name == "prunefront/toy"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`prunefront.spec` LIKE '%'")
    assert parent.info.status == "FINISHED"
    assert store.study("toy").outbox.read() is None


def test_a_study_that_is_being_searched_is_not_synced(store: Store) -> None:
    end(store, 0)
    with hold(f"sqlite:///{store.studies_db}", "toy"):
        (found,) = sync(store, tracking=None, ledger=None)
    assert not found.complete
    assert f"process {os.getpid()}" in found.note
    assert not store.artifacts.exists()


def test_a_study_whose_ledger_is_elsewhere_is_synced_only_with_it(store: Store) -> None:
    end(store, 0)
    store.study("toy").ledger.write(LedgerPlace("postgresql://db/pf"))
    (found,) = sync(store, tracking=None, ledger=None)
    assert (found.delivered, found.complete) == (0, False)
    assert "is postgresql://db/pf." in found.note
    assert "Give it by --ledger: one command at a time" in found.note
    (found,) = sync(store, tracking=None, ledger=f"sqlite:///{store.root}/elsewhere.db")
    assert (found.delivered, found.complete) == (1, True)


def test_two_that_publish_at_once_leave_each_run_once(store: Store) -> None:
    """Each makes a run of the study before the other looks."""
    for number in (0, 1):
        end(store, number)
    trackers = [open_tracking(None, store_root=store.root) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "runs", lambda *_, **__: [])
        for tracker in trackers:
            tracker.start_study(spec(), provenance={})
    for tracker, numbers in zip(trackers, ((0, 1), (0,)), strict=True):
        for number in numbers:
            tracker.publish(store.study("toy").read_record(number))
        tracker.finish_study("complete")
    (found,) = sync(store, tracking=None, ledger=None)
    assert found.complete
    client = MlflowClient(f"sqlite:///{store.mlflow_db}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "prunefront/toy"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags.get(TRIAL, "study") for run in runs) == ["0", "1", "study"]


def test_a_driver_that_was_taken_over_delivers_nothing_more(store: Store) -> None:
    lost = threading.Event()

    def may_write() -> None:
        if lost.is_set():
            raise LeaseLost("taken over")

    sent = courier(store, None, may_write)
    sent.start()
    end(store, 0, sent)
    wait(lambda: sent.delivered == 1)
    lost.set()
    end(store, 1, sent)
    sent.abandon()
    wait(lambda: not sent._thread.is_alive())
    assert sent.delivered == 1


def test_a_ledger_that_is_away_for_a_moment_does_not_end_the_publisher(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.driver.tracking.publisher.FIRST_PAUSE_S", 0.01)
    away = threading.Event()

    def may_write() -> None:
        if away.is_set():
            away.clear()
            raise LedgerLost("the ledger's database restarts")

    sent = courier(store, None, may_write)
    sent.start()
    away.set()
    end(store, 0, sent)
    wait(lambda: sent.delivered == 1)
    assert sent.close("complete")
    assert "the ledger's database restarts" in " ".join(sent.messages())


def test_a_trial_that_is_run_again_is_published_anew(store: Store) -> None:
    sent = courier(store, None)
    sent.start()
    end(store, 0, sent)
    wait(lambda: sent.delivered == 1)
    folder = store.study("toy").trial_folder(0)
    shutil.rmtree(folder)  # the store's machine lost its power
    store.study("toy").write_record(record(0, point(0.6, 0.5, kind="recovered")))
    sent.enqueue(0, again=True)
    wait(lambda: sent.delivered == 2)
    assert sent.close("complete")
    client = MlflowClient(f"sqlite:///{store.mlflow_db}")
    (run,) = [r for r in client.search_runs(["1"]) if r.data.tags.get("prunefront.trial") == "0"]
    assert run.data.metrics["metric"] == 0.6


def test_a_record_that_a_server_never_takes_is_set_aside(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.driver.tracking import Tracker, TrackingLost

    publish = Tracker.publish

    def picky(self: Tracker, one: object) -> None:
        if one.number == 1:
            raise TrackingLost("it answers with HTTP status 400")
        publish(self, one)

    monkeypatch.setattr(Tracker, "publish", picky)
    sent = courier(store, None)
    sent.start()
    for number in range(3):
        end(store, number, sent)
    wait(lambda: sent.delivered == 2)
    assert not sent.close("complete")
    assert store.study("toy").outbox.read().trials == (1,)


@pytest.mark.timeout(400)
def test_a_server_that_is_killed_and_comes_back_gets_all_of_it_once(
    store: Store, tmp_path: Path, mlflow_database: Path
) -> None:
    port = free_port()
    shutil.copy(mlflow_database, tmp_path / "server.db")
    address = f"http://127.0.0.1:{port}"
    sent = courier(store, address)
    end(store, 0)
    sent.start()  # nobody is there yet
    wait(lambda: bool(sent.messages()))
    with mlflow_server(tmp_path, port):
        end(store, 1, sent)
        wait(lambda: sent.delivered == 2)
        assert any("answers again" in message for message in sent.messages())
        end(store, 2, sent)  # it is killed while it takes this one, or before, or after
        time.sleep(0.1)
    for number in (3, 4):
        end(store, number, sent)
    wait(lambda: bool(sent.messages()))
    with mlflow_server(tmp_path, port):
        wait(lambda: set(range(5)) <= set(sent._tracker.published()))
        assert sent.close("complete")
        assert delivered(MlflowClient(address)) == [0, 1, 2, 3, 4]
    assert store.study("toy").outbox.read() is None
