"""A database's URL opens its file and no other, whatever the path holds."""

import sqlite3
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, text

from pipeline.study.ledger import hold
from pipeline.study.store import Store, sqlite_file, sqlite_url


def test_an_ordinary_path_is_its_url() -> None:
    path = Path("/a b/größe #1/x&y;[z]/studies.db")
    assert sqlite_url(path) == f"sqlite:///{path}"
    assert sqlite_file(sqlite_url(path)) == path
    assert sqlite_file("postgresql://host/base") is None


@pytest.mark.parametrize(
    "name",
    [
        "q?x=1",
        "p%20q",
        "f%2Fb",
        "h#1",
        "a{b}",
        "{0}",
        "100%",
        "a&b;c=[d]",
        "it's",
        'say "x"',
        "new\nline",
        "größe",
    ],
)
def test_databases_lie_in_their_store(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    path = Store(folder).studies_db
    url = sqlite_url(path)
    assert sqlite_file(url) == path
    with hold(url, "s"):
        assert path.is_file()
    optuna.create_study(storage=url, study_name="s")
    with sqlite3.connect(path) as connection:
        assert connection.execute("select study_name from studies").fetchall() == [("s",)]
    with create_engine(sqlite_url(Store(folder).mlflow_db)).connect() as connection:
        connection.execute(text("create table t (x int)"))
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert sorted(each.name for each in folder.iterdir()) == ["mlflow.db", "studies.db"]
