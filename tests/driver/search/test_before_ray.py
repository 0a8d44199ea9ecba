"""What can be refused without Ray is refused before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipeline.cli.app import run
from tests.kit.toy import small, write_task


def started(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("Ray was started")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stack", "2", "--gpus-per-trial", "0"], "--stack is 2, and these trials run on CPUs"),
        (["--ledger", "sqlite:////nowhere/studies.db"], "cannot be opened"),
        (["--ledger", "postgresql://nobody@127.0.0.1:1/none"], "cannot be opened"),
    ],
)
def test_a_search_is_refused(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("pipeline.driver.search.run.connect", started)
    task = write_task(tmp_path / "task", rows=120)
    store = tmp_path / "store"
    command = ["search", *map(str, small(task)), "--quiet", "--trials", "1", "--store", str(store), *options]
    assert run(command) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not store.exists()
