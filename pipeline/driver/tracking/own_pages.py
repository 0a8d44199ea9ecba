"""Where a study is in the MLflow of its own store: read without MLflow, whose import takes seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pipeline.driver.tracking.notes import experiment_name
from pipeline.driver.tracking.views import link
from pipeline.study.records import StudySpec


def page_of(spec: StudySpec, *, store: Path) -> str | None:
    """Return the address, within MLflow, of the table of a study's trials; None if the store's database has none."""
    file = store / "mlflow.db"
    if not file.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            query = "SELECT experiment_id FROM experiments WHERE name = ?"
            found = database.execute(query, (experiment_name(spec.task),)).fetchone()
    except sqlite3.Error:  # another version's, or busy: the address is a convenience
        return None
    return None if found is None else link(str(found[0]), spec.name)
