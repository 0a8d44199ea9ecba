"""What a database may do in the middle: answers that are lost, commits that are undone, late writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError

from pipeline.study.ledger import CommitsLost, Counts, LeaseLost, Ledger, LedgerLost, hold, open_ledger
from pipeline.study.ledger.lease import Lease
from pipeline.study.records import BadInput, TrialRecord
from pipeline.study.store import Store, StudyStore, mark_died
from pipeline.study.store.seen_record import SeenRecord
from tests.kit.ledger import SPACE, ledger_at, record_of, spec_of
from tests.kit.tracking import same


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.write_spec(spec_of())
    return made


@contextmanager
def driver(url: str, *, take_over: bool = False) -> Iterator[tuple[Lease, Ledger]]:
    with hold(url, "s", take_over=take_over) as lease:
        yield lease, open_ledger(url, spec_of(), SPACE, trials=20, lease=lease)


@pytest.fixture
def lost_answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The commits whose answers are lost, by how many are made before each."""
    monkeypatch.setattr("optuna.storages._rdb.storage.time.sleep", lambda _: None)
    lost: list[int] = []
    commit = DefaultDialect.do_commit

    def committing(self: Any, connection: Any) -> None:
        commit(self, connection)
        if lost:
            lost[0] -= 1
            if lost[0] < 0:
                lost.pop(0)
                raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    monkeypatch.setattr(DefaultDialect, "do_commit", committing)
    return lost


def rows(url: str, query: str) -> list[Any]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        return database.execute(query).fetchall()


def undo_trials(url: str, *, above: int) -> None:
    """A fail-over to a replica that had not received the last commits."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        gone = [row for (row,) in database.execute("SELECT trial_id FROM trials WHERE number > ?", (above,))]
        for row in gone:
            for table in ("s", "_values", "_params", "_user_attributes", "_system_attributes"):
                database.execute(f"DELETE FROM trial{table} WHERE trial_id = ?", (row,))
        database.commit()


@pytest.mark.parametrize("before", range(3))
def test_a_trial_whose_commit_was_not_answered_is_not_written_twice(
    url: str, lost_answers: list[int], before: int
) -> None:
    with driver(url) as (_, ledger):
        ledger.counts()
        lost_answers.append(before)
        try:
            first = ledger.ask()
        except LedgerLost:  # the answer to a reading was lost
            lost_answers.clear()
            owed = ledger.owed()
            first = owed[0] if owed else ledger.ask()
        lost_answers.clear()
        assert first.number == 0
        assert rows(url, "SELECT number, state FROM trials") == [(0, "RUNNING")]
        assert ledger.owed() == (first,)
        assert ledger.ask().number == 1


@pytest.mark.parametrize("before", range(4))
def test_an_end_whose_commit_was_not_answered_is_told_again(
    url: str, lost_answers: list[int], before: int
) -> None:
    with driver(url) as (_, ledger):
        record = record_of(ledger.ask(), state="failed", reason="no")
        lost_answers.append(before)
        try:
            ledger.tell(record)
        except LedgerLost:
            lost_answers.clear()
            ledger.tell(record)
        lost_answers.clear()
        assert ledger.counts() == Counts(0, 0, 1, 0)


def test_opening_a_ledger_that_stops_answering_is_no_fault_of_ours(url: str, lost_answers: list[int]) -> None:
    ledger_at(url)
    seen = 0
    for before in range(12):
        lost_answers[:] = [before]
        try:
            ledger_at(url).counts()
        except (LedgerLost, BadInput):
            seen += 1
        lost_answers.clear()
    assert seen > 5


@pytest.mark.parametrize("call", ["ask", "tell"])
def test_a_late_write_of_a_driver_that_was_taken_over_is_refused(
    url: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still between its check and its write, while another driver takes over and writes the same."""
    with driver(url) as (_, old):
        ask = old.ask()
        name = "create_new_trial" if call == "ask" else "set_trial_state_values"
        write = getattr(RDBStorage, name)

        def pause(self: RDBStorage, *args: Any) -> Any:
            monkeypatch.setattr(RDBStorage, name, write)
            taken = stack.enter_context(driver(url, take_over=True))[1]
            assert taken.owed() == (ask,)
            taken.tell(record_of(ask, 0.7, compression=0.2))
            assert taken.ask().number == 1
            return write(self, *args)

        with ExitStack() as stack:
            monkeypatch.setattr(RDBStorage, name, pause)
            with pytest.raises(LeaseLost):
                old.ask() if call == "ask" else old.tell(record_of(ask, 0.8, compression=0.3))
            assert rows(url, "SELECT number, state FROM trials") == [(0, "COMPLETE"), (1, "RUNNING")]
            assert rows(url, "SELECT value FROM trial_values ORDER BY objective") == [(0.7,), (0.2,)]


def test_a_fail_over_that_lost_the_last_commits_heals_from_the_records(url: str, store: Store) -> None:
    study = store.study("s")
    with driver(url) as (_, ledger):
        asks = [ledger.ask() for _ in range(5)]
        for number in (0, 1, 2, 4):
            record = record_of(asks[number])
            study.write_record(record)
            if number != 4:
                ledger.tell(record)
        study.attempts(3).begin()
        undo_trials(url, above=1)
        with pytest.raises(CommitsLost, match="has lost trial 4"):
            ledger.tell(record_of(asks[4]))
    with driver(url) as (_, ledger):
        found = ledger.reconcile(store)
        assert (found.restored, found.finished) == ((2, 4), (2, 4))
        assert [ask.number for ask in found.owed] == [3]
        assert found.owed[0].seed == asks[3].seed
        assert study.attempts(3).folders() == [], "its checkpoints may be of other parameters"
        assert ledger.counts() == Counts(complete=4, stopped=0, failed=0, running=1)
        assert ledger.ask().number == 5


def test_records_of_another_seed_are_not_taken_for_lost_commits(url: str, store: Store) -> None:
    with driver(url) as (_, ledger):
        ask = ledger.ask()
        store.study("s").write_record(replace(record_of(ask), number=1, seed=7))
        with pytest.raises(BadInput, match=r"numbers 1\).*belong together"):
            ledger.reconcile(store)


def test_an_ended_trial_whose_record_is_gone_is_owed_again(url: str, store: Store) -> None:
    """The ledger's disk kept what the store's lost with its power."""
    study = store.study("s")
    with driver(url) as (_, ledger):
        asks = [ledger.ask() for _ in range(3)]
        for ask, state in zip(asks, ("complete", "stopped", "complete"), strict=True):
            record = record_of(ask, state=state, reason="" if state == "complete" else "rung 1")
            study.write_record(record)
            ledger.tell(record)
        for number in (0, 1):
            (study.trial_folder(number) / "record.json").unlink()
        found = ledger.reconcile(store)
        assert found.again == (0, 1)
        assert found.owed == tuple(asks[:2])
        assert ledger.counts() == Counts(complete=1, stopped=0, failed=0, running=2)
        again = record_of(asks[1], 0.5, compression=0.1)  # it may end another way now
        study.write_record(again)
        ledger.tell(again)
        assert ledger.reconcile(store).owed == (asks[0],)
    assert rows(url, "SELECT number, state FROM trials") == [(0, "RUNNING"), (1, "COMPLETE"), (2, "COMPLETE")]


def test_a_damaged_record_of_a_trial_that_is_owed_is_put_aside(url: str, store: Store) -> None:
    study = store.study("s")
    with driver(url) as (_, ledger):
        ask, told = ledger.ask(), ledger.ask()
        for each in (ask, told):
            study.write_record(record_of(each))
        ledger.tell(record_of(told))
        path = study.trial_folder(ask.number) / "record.json"
        path.write_bytes(path.read_bytes()[:100])
        assert ledger.reconcile(store).owed == (ask,)
        assert not study.has_record(ask.number)
        assert path.with_suffix(".damaged").is_file()
        path = study.trial_folder(told.number) / "record.json"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(BadInput, match=r"record\.json is damaged"):
            ledger.reconcile(store)


@pytest.mark.parametrize(
    "still", [(StudyStore, "put_aside"), (SeenRecord, "put_aside")], ids=["before", "after"]
)
def test_a_driver_that_was_taken_over_puts_no_record_of_the_later_one_aside(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, still: tuple[type, str]
) -> None:
    """It stands still with a damaged record before it, or after, its last look at the lease; the trial is run again."""
    study, real, ended = store.study("s"), getattr(*still), list[TrialRecord]()

    def stand_still(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(*still, real)
        later = stack.enter_context(driver(url, take_over=True))[1]
        (owed,) = later.reconcile(store).owed
        ended.append(record_of(owed))
        assert study.write_record(ended[0])
        later.tell(ended[0])
        real(*arguments, **options)

    with ExitStack() as stack:
        ledger = stack.enter_context(driver(url))[1]
        study.write_record(record_of(ledger.ask()))
        path = study.trial_folder(0) / "record.json"
        path.write_bytes(path.read_bytes()[:100])
        monkeypatch.setattr(*still, stand_still)
        with suppress(LeaseLost):  # it has nothing else to write
            ledger.reconcile(store)
    assert same(study.read_record(0), ended[0])


def test_attempts_that_get_on_are_not_lost(store: Store) -> None:
    """A machine that goes away is no fault of a trial that has written a checkpoint on it."""
    attempts = store.study("s").attempts(0)
    for step in (None, None, 10, 20, 20, None, 30, None, None):
        folder = attempts.begin()
        if step is not None:
            (folder / f"checkpoint-000-{step:07d}").mkdir()
        mark_died(folder)
        assert attempts.given_up() == ""
    mark_died(attempts.begin())
    assert attempts.given_up() == "worker lost 3 times"
