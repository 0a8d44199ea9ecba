"""A full disk: one clear message, and nothing that was whole is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlalchemy.exc import OperationalError

from pipeline.cli.outside_errors import outside_cause
from pipeline.study.ledger import LeaseLost, Ledger, LedgerLost, open_ledger
from pipeline.study.ledger.storage import cause_of
from pipeline.study.records import Ask
from pipeline.study.store import Store
from pipeline.trial import checkpoint as resume
from pipeline.trial.job import TrialJob
from pipeline.trial.training.loop import LoopState
from pipeline.trial.trial import run_trial
from tests.kit.checkpoints import checkpoint
from tests.kit.disk import disk, fill
from tests.kit.ledger import SPACE, spec_of
from tests.kit.synthetic import record, spec
from tests.kit.trials import SNIP

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with disk(tmp_path / "disk", megabytes=1) as folder:
        yield folder


def test_a_checkpoint_that_does_not_fit_leaves_the_older_one_and_no_rubbish(small_disk: Path) -> None:
    resume.save(small_disk / "attempt-01", checkpoint(0, 5))
    large = replace(checkpoint(0, 6), loop=LoopState(6, {"model": {"weight": torch.ones(1_000_000)}}))
    with pytest.raises(OSError, match="No space") as full:
        resume.save(small_disk / "attempt-01", large)
    assert full.value.errno == errno.ENOSPC
    assert [path.name for path in (small_disk / "attempt-01").iterdir()] == ["checkpoint-000-0000005"]
    assert resume.load([small_disk / "attempt-01"]).loop.step == 5


def test_a_trial_goes_on_without_the_checkpoints_that_do_not_fit(
    small_disk: Path, tmp_path: Path, make_inputs
) -> None:
    plain = run_trial(make_inputs(), TrialJob(Ask(3, SNIP, 11), (tmp_path / "attempt-01",)), lambda _: None)
    fill(small_disk, leave=20_000)
    job = TrialJob(Ask(3, SNIP, 11), (small_disk / "attempt-01",), checkpoint_s=0.0, keep_weights=False)
    found = run_trial(make_inputs(), job, lambda _: None)
    assert found.state == "complete"
    assert found.recovered.measurement == plain.recovered.measurement
    assert "the disk was full" in found.reason


def test_a_record_that_does_not_fit_leaves_nothing_half_written(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    store.write_spec(spec())
    fill(small_disk, leave=0)
    with pytest.raises(OSError, match="No space"):
        store.study("toy").write_record(record(0))
    assert store.study("toy").finished_numbers() == []


def test_a_ledger_on_a_full_disk_is_an_error_with_its_cause(small_disk: Path) -> None:
    ledger = open_ledger(f"sqlite:///{small_disk}/studies.db", spec_of(), SPACE, trials=20)
    ledger.ask()
    fill(small_disk, leave=0)
    with pytest.raises(LedgerLost, match="full") as lost:
        ask_often(ledger)
    assert "disk is full" in outside_cause(lost.value)


def test_a_full_disk_is_known_whatever_stands_before_it() -> None:
    error = OperationalError("INSERT", {}, Exception("database or disk is full"))
    error.add_detail(
        "raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block"
    )
    assert "full" not in str(error).splitlines()[0]
    assert cause_of(error, "sqlite:///studies.db") == "Exception: database or disk is full"


def ask_often(ledger: Ledger) -> None:
    """Some trials fit into pages that are there already."""
    for _ in range(50):
        ledger.ask()


def test_what_is_said_of_causes_outside() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/store/x")
    assert "/store/x disk is full. Free some space" in outside_cause(full)
    wrapped = RuntimeError("trial")
    wrapped.__cause__ = full
    assert "Free some space" in outside_cause(wrapped)
    database = OperationalError("INSERT", {}, Exception("database or disk is full"))
    assert "A database's disk is full" in outside_cause(database)
    assert outside_cause(LeaseLost("taken over")) == "taken over"
    assert outside_cause(LedgerLost("gone")) == "gone"
    assert outside_cause(ValueError("a fault of ours")) is None
