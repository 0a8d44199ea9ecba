"""One driver per study: real processes that hold, die, freeze and are taken over."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, update

from pipeline.study.ledger import lease as room
from pipeline.study.ledger import lease_table
from pipeline.study.ledger.lease import LeaseLost, hold, holder_of
from pipeline.study.records import BadInput
from tests.kit.ledger import SPACE, ledger_at, record_of, spec_of

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
FORK = get_context("fork")  # what a driver imports is there already


@pytest.fixture(params=["sqlite", "journal"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "journal":
        return f"journal://{tmp_path}/ledger"
    return f"sqlite:///{tmp_path}/studies.db"


of_a_database = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Driver:
    """A process that holds study s until it is ended."""

    def __init__(self, url: str, beat_s: float) -> None:
        self._ours, theirs = FORK.Pipe()
        self._process = FORK.Process(target=self._hold, args=(url, beat_s, theirs))
        self._process.start()
        theirs.close()
        assert self._ours.recv() == "held"

    def _hold(self, url: str, beat_s: float, theirs: Connection) -> None:
        self._ours.close()
        room.BEAT_S = beat_s
        with hold(url, "s"), suppress(EOFError):
            theirs.send("held")
            theirs.recv()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """It is not waited for."""
        self._process.kill()

    def end(self) -> None:
        """It gives the study back."""
        self._ours.close()
        self._process.join()


@contextmanager
def another_driver(url: str, *, beat_s: float = 10.0) -> Iterator[Driver]:
    driver = Driver(url, beat_s)
    try:
        yield driver
    finally:
        driver.kill()
        driver.end()


def test_a_second_driver_is_refused_with_the_holder_and_the_way_to_take_over(url: str) -> None:
    with another_driver(url) as first:
        began = time.monotonic()
        with pytest.raises(BadInput) as refusal, hold(url, "s"):
            pass
        assert time.monotonic() - began < room.BEAT_S, "it waited for a sign"
        for words in (
            f"process {first.pid}",
            os.uname().nodename,
            "since 20",
            "last renewed",
            "--take-over",
        ):
            assert words in str(refusal.value)
        with hold(url, "another study"):
            pass
        assert holder_of(url, "s").pid == first.pid
        first.end()
        assert holder_of(url, "s") is None
        with hold(url, "s") as lease:
            lease.check()


def test_a_study_whose_driver_was_killed_is_free_at_once(url: str) -> None:
    with another_driver(url) as first:
        first.kill()
        time.sleep(0.2)  # not waited for: it is a zombie, as in a container without an init
        with hold(url, "s") as lease:
            lease.check()


def test_a_frozen_driver_keeps_its_study_until_it_is_taken_over(url: str) -> None:
    with another_driver(url) as first:
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(BadInput, match="--take-over"), hold(url, "s"):
            pass
        with hold(url, "s", take_over=True) as lease:
            lease.check()
            assert holder_of(url, "s").pid == os.getpid()
        first.send_signal(signal.SIGCONT)


@of_a_database
def test_a_driver_that_was_taken_over_writes_nothing_more(url: str) -> None:
    with hold(url, "s") as old:
        from pipeline.study.ledger import open_ledger

        ledger = open_ledger(url, spec_of(), SPACE, trials=9, lease=old)
        ask = ledger.ask()
        with hold(url, "s", take_over=True) as new:
            with pytest.raises(LeaseLost, match=f"process {os.getpid()}"):
                ledger.tell(record_of(ask))
            with pytest.raises(LeaseLost):
                ledger.ask()
            assert [owed.number for owed in ledger_at(url).owed()] == [0]
            new.check()
        with pytest.raises(LeaseLost, match="given back"):
            old.check()


def rewrite(url: str, **values: object) -> None:
    """The row as another machine would have written it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(update(lease_table._LEASES).values(**values))
    engine.dispose()


@of_a_database
def test_on_another_machine_silence_decides_and_not_a_process_number(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.1)
    with another_driver(url, beat_s=1.0) as first:
        rewrite(url, place="elsewhere", host="node7", pid=1)
        with pytest.raises(BadInput, match="on node7, process 1"), hold(url, "s"):
            pass
        first.send_signal(signal.SIGSTOP)  # it beats no more
        engine = create_engine(url)
        with engine.connect() as connection:
            beat = connection.execute(select(lease_table._LEASES.c.beat)).scalar_one()
        engine.dispose()
        rewrite(url, beat=beat - room.SILENT_S - 5)
        with hold(url, "s") as lease:
            lease.check()


@of_a_database
def test_a_retry_waits_for_the_driver_of_a_lost_node_and_another_one_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As KubeRay's retries of a job: the node is gone, its driver's row is not old enough yet."""
    monkeypatch.setattr(room, "LOOK_S", 0.05)
    monkeypatch.setattr(room, "SILENT_S", 2.0)
    with another_driver(url) as first:
        rewrite(url, place="elsewhere", host="node7")
        first.kill()
        said: list[str] = []
        with hold(url, "s", on_wait=said.append) as lease:
            lease.check()
            (line,) = said
            assert "on node7" in line
            assert "Waiting for a sign of it" in line
            with pytest.raises(BadInput, match=f"process {os.getpid()}"), hold(url, "s"):
                pass


@of_a_database
def test_a_clock_that_was_set_back_gives_nothing_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.1)
    with another_driver(url, beat_s=2.0):
        rewrite(url, place="elsewhere", beat=time.time() + 7200)
        with pytest.raises(BadInput, match="at a later time than now"), hold(url, "s"):
            pass


@of_a_database
def test_a_clock_set_back_in_mid_search_ends_no_lease(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now, back = lease_table._now, [0.0]
    monkeypatch.setattr(lease_table, "_now", lambda connection: now(connection) - back[0])
    monkeypatch.setattr(room, "BEAT_S", 0.05)
    with hold(url, "s") as lease:
        rewrite(url, place="elsewhere")  # silence is all that others have to go by
        back[0] = 7200.0
        lease.check()
        end = time.monotonic() + 60
        while abs(holder_of(url, "s").silent_s) > 60 and time.monotonic() < end:
            time.sleep(0.05)
        with pytest.raises(BadInput, match=r"last renewed -?\d s ago"), hold(url, "s"):
            pass
        back[0] = (
            0.0  # and forward again: for a beat it seems to have been silent, and it is not asked in between
        )
        end = time.monotonic() + 60
        while (holder_of(url, "s") is None or holder_of(url, "s").silent_s > 60) and time.monotonic() < end:
            time.sleep(0.05)
        lease.check()
        with pytest.raises(BadInput, match="--take-over"), hold(url, "s"):
            pass
        with hold(url, "s", take_over=True), pytest.raises(LeaseLost, match="taken over"):
            lease.check()


@of_a_database
def test_the_lease_is_renewed_in_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BEAT_S", 0.05)
    with hold(url, "s"):
        rewrite(url, beat=0.0)
        end = time.monotonic() + 60
        while holder_of(url, "s").silent_s > 60 and time.monotonic() < end:
            time.sleep(0.05)
        assert holder_of(url, "s").silent_s < 60


def come(url: str, said: Connection) -> None:
    """Hold the study for a moment; say why not, or nothing."""
    try:
        with hold(url, "s"):
            time.sleep(0.5)
    except BadInput as refusal:
        said.send(str(refusal))
    else:
        said.send("")


def test_of_many_that_come_at_once_one_gets_it(url: str) -> None:
    pipes = [FORK.Pipe(duplex=False) for _ in range(4)]
    drivers = [FORK.Process(target=come, args=(url, theirs)) for _, theirs in pipes]
    for driver in drivers:
        driver.start()
    for _, theirs in pipes:
        theirs.close()
    ends = [ours.recv() for ours, _ in pipes]
    for driver in drivers:
        driver.join()
    assert all(not message or "One driver at a time" in message for message in ends), ends
    assert "" in ends


def test_a_ledger_that_is_not_there_has_no_holder(url: str, tmp_path: Path) -> None:
    assert holder_of(f"sqlite:///{tmp_path}/none/studies.db", "s") is None
    assert holder_of(url, "s") is None


def test_a_database_that_cannot_be_opened_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be opened"), hold(f"sqlite:///{tmp_path}/none/s.db", "s"):
        pass


def test_a_journal_s_silence_is_that_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.05)
    url, file = f"journal://{tmp_path}/ledger", tmp_path / "ledger" / "s.leases" / "00001.json"
    with another_driver(url, beat_s=0.2) as first:
        row = json.loads(file.read_text()) | {"place": "elsewhere", "host": "node7"}
        file.write_text(json.dumps(row))
        with pytest.raises(BadInput, match="on node7"), hold(url, "s"):
            pass  # it beats
        first.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        os.utime(file, (0, time.time() - room.SILENT_S - 5))
        with hold(url, "s") as lease:
            lease.check()
            assert holder_of(url, "s").pid == os.getpid()
        first.send_signal(signal.SIGCONT)
