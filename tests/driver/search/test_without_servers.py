"""A search whose ledger is a shared folder, and whose study MLflow gets when it has ended."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from pipeline.cli.app import run
from pipeline.driver.search.request import Search
from pipeline.driver.search.shared_store import check_ledger
from pipeline.fronts.front import load_front
from pipeline.study.records import BadInput
from pipeline.study.store import WEIGHTS, Store
from tests.kit.inline import without_ray
from tests.kit.toy import prunefront_here, small, write_task


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with store and ledger after a search of two trials, and its command."""
    folder = tmp_path_factory.mktemp("shared")
    asked = [
        "search", *map(str, small(write_task(folder / "task", rows=120))), "--name", "toy", "--json",
        "--concurrent", "1", "--latency-grid", "none", "--scheduler", "none", "--store", str(folder / "store"),
        "--ledger", f"journal://{folder}/ledger", "--tracking", "later",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        found = prunefront_here(*asked, "--trials", "2")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["trials"] == 2
    assert "studies --sync" in found.stderr
    return folder, asked


def test_there_is_no_database_and_the_study_is_whole(
    searched: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = searched
    assert not list((folder / "store").glob("*.db*"))
    assert (folder / "ledger" / "toy.journal").is_file()
    assert run(["studies", "--store", str(folder / "store"), "--json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert (study["study"], study["trials"], study["state"]) == ("toy", 2, "complete")


@pytest.mark.usefixtures("inline")
def test_the_same_command_goes_on_and_a_sync_publishes_all(
    searched: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, asked = searched
    assert run([*asked, "--trials", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 3
    outbox = Store(folder / "store").study("toy").outbox.read()
    assert outbox is not None
    assert sorted(outbox.trials) == [0, 1, 2]
    assert run(["studies", "--sync", "--store", str(folder / "store"), "--json"]) == 0
    (synced,) = json.loads(capsys.readouterr().out)["sync"]
    assert (synced["study"], synced["delivered"], synced["complete"]) == ("toy", 3, True)
    database = sqlite3.connect(folder / "store" / "mlflow.db")
    runs = database.execute("SELECT COUNT(*) FROM tags WHERE key = 'prunefront.trial'").fetchone()
    database.close()
    assert runs == (3,)
    assert Store(folder / "store").study("toy").outbox.read() is None


def test_the_weights_that_are_there_are_those_of_the_front(searched: tuple[Path, list[str]]) -> None:
    weights = Store(searched[0] / "store").study("toy").weights
    points = load_front("toy", store=searched[0] / "store").points
    assert points
    # a point whose weights were missing would give None
    assert {weights.of_point(point) for point in points} == set(weights.trials.glob(f"*/{WEIGHTS}/*"))


def test_a_cluster_elsewhere_takes_a_journal_and_no_sqlite_file() -> None:
    check_ledger(Search(address="10.9.9.9:6379", ledger="journal:///shared/ledger"))
    with pytest.raises(BadInput, match="journal:///SHARED/FOLDER"):
        check_ledger(Search(address="10.9.9.9:6379", ledger="sqlite:////shared/studies.db"))
