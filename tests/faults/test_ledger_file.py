"""A ledger in a file that is lost, locked, or a newer program's; and a store of a newer program."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from pipeline.cli.app import run as run_here
from pipeline.study.ledger import LedgerLost, storage
from tests.kit.inline import without_ray
from tests.kit.ledger import ledger_at, record_of
from tests.kit.toy import prunefront_here, small, write_task

LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program is in the middle of writing to the file."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store with a study of two trials, and the command that made it."""
    folder = tmp_path_factory.mktemp("ledger-file")
    task = write_task(folder / "task", rows=120)
    asked = [
        "search", *map(str, small(task)), "--name", "toy", "--quiet",
        "--trials", "2", "--concurrent", "1", "--latency-grid", "none", "--scheduler", "none",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        run = prunefront_here(*asked, "--store", folder / "store")
    assert run.returncode == 0, run.stderr
    return folder / "store", asked


@pytest.fixture
def store(searched: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(searched[0], tmp_path / "store"))


def records(store: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(store.rglob("record.json"))}


@pytest.mark.usefixtures("inline")
def test_a_lost_ledger_is_refused_before_anything_is_started(
    searched: tuple[Path, list[str]],
    store: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = records(store)
    (store / "studies.db").rename(store / "aside.db")
    with monkeypatch.context() as patch:
        patch.setattr(
            "pipeline.driver.search.run.connect", lambda *_, **__: pytest.fail("Ray was started first")
        )
        assert run_here([*searched[1], "--trials", "3", "--store", str(store)]) == 2
    message = " ".join(capsys.readouterr().err.split())
    for words in ("A store and a ledger belong together", "0, 1", "--warm-start toy", "--name"):
        assert words in message
    assert records(store) == before
    assert run_here(["show", "toy", "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    (store / "aside.db").rename(store / "studies.db")  # it was found again
    assert run_here([*searched[1], "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    assert records(store) == before


def test_a_locked_ledger_is_refused_with_what_to_do(
    searched: tuple[Path, list[str]],
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(storage, "BUSY_TIMEOUT_S", 0.5)
    with locked(store / "studies.db"):
        assert run_here([*searched[1], "--trials", "3", "--store", str(store)]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "database is locked" in message
    assert "another program" in message


def test_a_lock_in_mid_search_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "BUSY_TIMEOUT_S", 0.5)
    file = tmp_path / "studies.db"
    ledger = ledger_at(f"sqlite:///{file}")
    first = ledger.ask()
    with locked(file) as other:
        with pytest.raises(LedgerLost, match="locked"):
            ledger.tell(record_of(first))
        with pytest.raises(LedgerLost, match="nothing is done twice"):
            ledger.ask()
        monkeypatch.setattr(storage, "BUSY_TIMEOUT_S", 20)
        later = threading.Timer(0.5, other.kill)
        later.start()
        ledger_at(f"sqlite:///{file}")  # waits for it
        later.join()
    ledger.tell(record_of(first))
    assert ledger.ask().number == 1
    assert [trial.state.name for trial in ledger._storage.get_all_trials(1)] == ["COMPLETE", "RUNNING"]


@pytest.mark.parametrize("what", ["ledger", "spec", "record"])
def test_a_study_of_a_newer_version_is_refused(
    what: str, searched: tuple[Path, list[str]], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if what == "ledger":
        study = optuna.load_study(study_name="toy", storage=f"sqlite:///{store}/studies.db")
        study.set_user_attr("format", 99)
    else:
        folder = store / "studies" / "toy"
        path = folder / "spec.json" if what == "spec" else folder / "trials" / "00001" / "record.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    before = {str(path): path.read_bytes() for path in sorted((store / "studies").rglob("*.json"))}
    asked = [*searched[1], "--trials", "3", "--store", str(store)]
    if what == "record":
        asked = ["show", "toy", "--store", str(store)]
    assert run_here(asked) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "99" in message
    assert "Install a newer one" in message
    assert {path: Path(path).read_bytes() for path in before} == before
    with sqlite3.connect(store / "studies.db") as held:
        assert held.execute("SELECT COUNT(*) FROM trials").fetchone() == (2,)
    held.close()
