"""A ledger in a shared folder: Optuna's format, and what a writer that was killed, or stood still, does to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

from pipeline.study.ledger import (
    CommitsLost,
    Counts,
    LeaseLost,
    Ledger,
    LedgerLost,
    hold,
    holder_of,
    open_ledger,
)
from pipeline.study.ledger.journal import lines
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.ledger import SPACE, draws, ledger_at, record_of, spec_of

ROOT = Path(__file__).parents[4]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def url(folder: Path) -> str:
    return f"journal://{folder}"


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "s.journal"


@contextmanager
def driver(url: str, *, take_over: bool = False) -> Iterator[Ledger]:
    with hold(url, "s", take_over=take_over) as lease:
        yield open_ledger(url, spec_of(), SPACE, trials=20, lease=lease)


def by_optuna(file: Path) -> list[str]:
    """The trials as Optuna's own class reads the file."""
    study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(file))))
    return [trial.state.name for trial in study.trials]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_draws_are_those_of_a_database_however_often_a_driver_restarts(
    url: str, tmp_path: Path, sampler: str
) -> None:
    spec = spec_of(sampler)
    expected = draws(f"sqlite:///{tmp_path}/studies.db", spec, ask=9, reopen_every=99)
    assert draws(url, spec, ask=9, reopen_every=2) == expected


def test_optuna_reads_it_with_the_names_of_both_values(url: str, file: Path) -> None:
    with driver(url) as ledger:
        first, second = ledger.ask(), ledger.ask()
        ledger.tell(record_of(first, 0.8, compression=0.4))
        ledger.tell(record_of(second, state="failed", reason="no"))
    storage = JournalStorage(JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.metric_names == [spec_of().metric_name, "compr."]
    assert study.trials[0].values == [0.8, 0.4]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]


def test_the_rest_of_a_line_whose_writer_was_killed_is_cut_off(url: str, file: Path) -> None:
    with driver(url) as ledger:
        ask = ledger.ask()
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"op_code":4,"study_id":0,"datet')
    assert ledger_at(url).owed() == (ask,), "a reader passes over it"
    with driver(url) as ledger:
        assert ledger.ask().number == 1
    assert file.read_bytes().startswith(whole + b'{"op_code":4,"worker_id"')
    assert by_optuna(file) == ["RUNNING", "RUNNING"]


def test_a_line_that_cannot_be_read_is_told(url: str, file: Path) -> None:
    with driver(url) as ledger:
        ledger.ask()
    file.write_bytes(file.read_bytes().replace(b'"op_code":4', b'"op_code":'))
    with pytest.raises(BadInput, match=r"journal://.* cannot be opened"):
        ledger_at(url)


def test_a_writer_that_stood_still_within_the_lock_changes_nothing(
    url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is taken from it, another driver takes over and writes; then it writes after all."""
    with driver(url) as old:
        ask = old.ask()
        fsync = os.fsync
        taken = hold(url, "s", take_over=True)

        def stand_still(descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").resolve() == file:
                monkeypatch.setattr(os, "fsync", fsync)
                written = file.read_bytes()
                kept = written[: written[:-1].rfind(b"\n") + 1]
                file.write_bytes(kept)  # its line is not written yet
                (file.parent / "s.journal.lock").unlink()
                new = open_ledger(url, spec_of(), SPACE, trials=20, lease=taken.__enter__())
                assert new.owed() == (ask,)
                new.tell(record_of(ask, 0.7, compression=0.2))
                assert new.ask().number == 1
                with file.open("ab") as late:
                    late.write(written.removeprefix(kept))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", stand_still)
        with pytest.raises(LedgerLost, match="lease ended"):
            old.ask()
        with pytest.raises(LeaseLost):
            old.ask()
        late = json.loads(file.read_bytes().splitlines()[-1])
        assert late["op_code"] == 4, "the late line is there"
        assert ledger_at(url).counts() == Counts(complete=1, stopped=0, failed=0, running=1)
        taken.__exit__(None, None, None)
    with driver(url) as ledger:
        assert ledger.ask().number == 2


def test_an_ended_trial_that_is_owed_again_runs_for_every_reader(
    url: str, file: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    store.write_spec(spec_of())
    study = store.study("s")
    with driver(url) as ledger:
        asks = [ledger.ask() for _ in range(3)]
        for ask, state in zip(asks, ("complete", "stopped", "complete"), strict=True):
            record = record_of(ask, state=state, reason="" if state == "complete" else "rung 1")
            study.write_record(record)
            ledger.tell(record)
        for number in (0, 1):
            (study.trial_folder(number) / "record.json").unlink()
        before = file.read_bytes()
        found = ledger.reconcile(store)
        after = file.read_bytes()
        assert found.again == (0, 1)
        assert ledger.counts() == Counts(complete=1, stopped=0, failed=0, running=2)
        assert by_optuna(file) == ["RUNNING", "RUNNING", "COMPLETE"]
        # a reader that goes on from where it was finds its place
        assert [len(line) for line in after.splitlines()] == [len(line) for line in before.splitlines()]
        ledger.tell(record_of(asks[1], 0.5, compression=0.1))
    assert by_optuna(file) == ["RUNNING", "COMPLETE", "COMPLETE"]


def test_a_file_that_has_lost_its_last_lines_heals_from_the_records(
    url: str, file: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    store.write_spec(spec_of())
    study = store.study("s")
    with driver(url) as ledger:
        asks = [ledger.ask() for _ in range(2)]
        kept = len(file.read_bytes())
        asks.append(ledger.ask())
        record = record_of(asks[2])
        study.write_record(record)
        os.truncate(file, kept)
        with pytest.raises(CommitsLost, match="shorter than it was"):
            ledger.tell(record)
    with driver(url) as ledger:
        found = ledger.reconcile(store)
        assert (found.restored, found.finished) == ((2,), (2,))
        assert found.owed == tuple(asks[:2])


def test_a_dead_process_keeps_the_lock_for_its_time_only(
    url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LOCK_S", 3)
    with driver(url) as ledger:
        (file.parent / "s.journal.lock").touch()
        began = time.monotonic()
        assert ledger.ask().number == 0
        assert 3 <= time.monotonic() - began < 20


DRIVER = """
import sys
from tests.kit.ledger import ask_forever
ask_forever(sys.argv[1])
"""


@pytest.mark.parametrize("wait_s", [0.0, 0.03, 0.1])
def test_a_driver_that_is_killed_leaves_whole_trials(
    url: str, file: Path, wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LOCK_S", 3)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, url], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with driver(url) as ledger:
        owed = ledger.owed()
        assert [ask.number for ask in owed][:2] == [0, 2]
        assert all(ask.params for ask in owed)
        assert ledger.ask().number == len(by_optuna(file)) - 1


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    for url in (f"journal://{tmp_path}/no/such", "journal:///proc/ledger"):
        with pytest.raises(BadInput, match=r"journal://.* cannot be opened"), hold(url, "s"):
            pass
        with pytest.raises(BadInput, match=r"journal://.* cannot be opened"):
            ledger_at(url)
        assert holder_of(url, "s") is None


def test_a_reader_writes_nothing(url: str, folder: Path) -> None:
    assert holder_of(url, "s") is None
    assert not folder.exists()
    with driver(url) as ledger:
        ledger.ask()
        seen = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert holder_of(url, "s") is not None
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == seen
