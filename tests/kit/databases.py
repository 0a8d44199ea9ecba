"""New databases in less time: MLflow's are copied from one, Optuna's migrations are read once a process.

MLflow takes a second of processor time to make its tables, Optuna 0.2 s to see at each opening that its are the newest.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from optuna.storages._rdb.storage import _VersionManager

from pipeline.driver.tracking import opening

made_by_mlflow = opening._make_database
read_by_optuna = _VersionManager._create_alembic_script


@cache
def template() -> bytes:
    """A new database as MLflow makes it."""
    folder = Path(mkdtemp(prefix="prunefront-mlflow-"))
    made_by_mlflow(folder / "mlflow.db", artifacts=folder / "artifacts")
    content = (folder / "mlflow.db").read_bytes()
    shutil.rmtree(folder)
    return content


def copied(file: Path, *, artifacts: Path) -> None:
    """Takes the place of `_make_database`: the artifacts' place is all that a new database has of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}-{os.urandom(4).hex()}")
    part.write_bytes(template())
    with closing(sqlite3.connect(part)) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", (f"{artifacts.as_uri()}/0",))
    with suppress(FileExistsError):  # another driver was quicker
        os.link(part, file)
    part.unlink()


@contextmanager
def quick_databases() -> Iterator[None]:
    scripts: list[Any] = []

    def read_once(manager: _VersionManager) -> Any:
        if not scripts:
            scripts.append(read_by_optuna(manager))
        return scripts[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_make_database", copied)
        patch.setattr(_VersionManager, "_create_alembic_script", read_once)
        yield
