"""Running, stopped, complete: by the lease, and by what the search noted at its start and its end."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.app import run
from pipeline.fronts.search_state import search_state
from pipeline.study.ledger import hold
from pipeline.study.space import load_space
from pipeline.study.store import Asked, LedgerPlace, Store, sqlite_url
from tests.kit.synthetic import point, record, spec


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two trials of five."""
    made = Store(tmp_path)
    made.write_spec(spec("toy"))
    settings = load_space("snip", file=None, pretrained=True).defaults()
    for number in range(2):
        one = record(number, point(0.9, 0.1 + number / 2))
        made.study("toy").write_record(replace(one, params=settings))
    made.study("toy").ledger.write(LedgerPlace(sqlite_url(made.studies_db)))
    made.study("toy").asked.write(Asked(5))
    return made


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run([*arguments]) == 0
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


def test_a_study_runs_while_its_lease_is_held(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(sqlite_url(store.studies_db), "toy"):
        assert search_state(store, "toy", ended=2).sentence.startswith("2 of 5 trials, running")
        for command in ("show", "best"):
            assert "2 of 5 trials, running" in printed(capsys, command, "toy", "--store", str(store.root))
    found = search_state(store, "toy", ended=2)
    assert found.state == "stopped"
    assert "2 of 5 trials, stopped" in printed(capsys, "best", "toy", "--store", str(store.root))


def test_a_search_that_came_to_its_end_is_complete(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.study("toy").asked.write(Asked(5, done=True))
    found = search_state(store, "toy", ended=5)
    assert (found.state, found.count, found.sentence) == ("complete", "5", "")
    (row,) = json.loads(printed(capsys, "studies", "--store", str(store.root), "--json"))["studies"]
    assert (row["state"], row["trials_asked"]) == ("complete", 5)
    assert time.time() - row["changed"] < 60
    assert f"complete {found.day}" in printed(capsys, "studies", "--store", str(store.root))


def test_a_study_of_an_earlier_version_is_neither(store: Store) -> None:
    store.study("toy").asked.write(Asked())
    found = search_state(store, "toy", ended=2)
    assert (found.state, found.count, found.sentence) == ("unknown", "2", "")


def test_where_the_ledger_is_a_server_the_files_tell(store: Store) -> None:
    files = store.study("toy")
    files.ledger.write(LedgerPlace("postgresql://db.example.org/pf"))
    assert search_state(store, "toy", ended=2).state == "running"
    for path in files.folder.glob("*.*"):
        os.utime(path, (0, time.time() - 91))
    assert search_state(store, "toy", ended=2).state == "stopped"
