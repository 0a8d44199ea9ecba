"""A search whose name an earlier one has left before its dense network was trained: nobody has seen that study."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from pipeline.cli.app import run
from pipeline.study.store import Began, LedgerPlace, Store
from tests.kit.toy import small, write_task


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    task = write_task(tmp_path / "task", rows=120)
    return [
        "search", *map(str, small(task)), "--name", "toy", "--quiet", "--json", "--trials", "1", "--concurrent", "1",
        "--latency-grid", "none", "--scheduler", "none", "--store", str(tmp_path / "store"),
    ]  # fmt: skip


def left_unseen(store: Store, place: str) -> None:
    """What an earlier search leaves: a study's folder without a spec, with a record."""
    study = store.study("toy")
    study.ledger.write(LedgerPlace(place))
    study.began.write(Began("1a2b3c4d"))
    study.trial_folder(0).mkdir(parents=True)
    (study.trial_folder(0) / "record.json").write_text("{}")


@pytest.mark.usefixtures("inline")
def test_what_an_earlier_search_left_unseen_is_removed(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the dense network comes first, as on one core."""
    store = Store(tmp_path / "store")
    left_unseen(store, f"sqlite:///{store.studies_db}")
    assert run(asked) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 1
    began = store.study("toy").began.read().search
    assert len(began) == 8
    assert began != "1a2b3c4d"
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{store.studies_db}")
    assert [trial.user_attrs["params"] for trial in study.trials] == [
        store.study("toy").read_record(0).params
    ]
    assert run([*asked, "--trials", "2"]) == 0
    assert store.study("toy").began.read().search == began


@pytest.mark.usefixtures("inline")
def test_a_study_that_another_ledger_may_be_searching_is_refused(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    left_unseen(store, "postgresql://db.example:5432/ledger")
    assert run(asked) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "has its ledger at postgresql://db.example:5432/ledger" in message
    assert "--ledger" in message
    assert (store.study("toy").trial_folder(0) / "record.json").read_text() == "{}"
    assert not store.studies_db.exists()
