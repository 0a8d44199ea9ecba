"""One real search for the tests of commands, on Ray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.terminal import SLOW_SPACE, Searched, on_a_terminal
from tests.kit.toy import small, write_task

ROWS = 800


@pytest.fixture(scope="package")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its test file is a pipe that nobody writes to: a command that opened it would wait for ever."""
    path = write_task(tmp_path_factory.mktemp("task"), rows=ROWS)
    (path.parent / "quick.toml").write_text(SLOW_SPACE)
    (path.parent / "test.tsv").unlink()
    os.mkfifo(path.parent / "test.tsv")
    return path


@pytest.fixture(scope="package")
def watched(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """The search, with a terminal for all but its result."""
    folder = tmp_path_factory.mktemp("stores")
    arguments = [
        "search", *small(task), "--name", "toy", "--trials", "3", "--start", "dense", "--concurrent", "1",
        "--latency-grid", "1x8", "--minutes", "30", "--store", folder / "store", "--json",
    ]  # fmt: skip
    code, shown = on_a_terminal(arguments, columns=80, printed=folder / "printed.json")
    return Searched(folder / "store", code, (folder / "printed.json").read_text(), shown)
