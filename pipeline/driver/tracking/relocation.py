"""The artifacts of a store's own MLflow database are in the store, wherever it was made.

MLflow keeps whole paths. Those of a store that was moved or copied lead out of it: to another store's files, or to
whatever a person who wrote the database chose.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

_RUNS = "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = :experiment"


class OwnDatabase:
    """A store's MLflow database, and the folder of its artifacts."""

    def __init__(self, address: str, artifacts: Path) -> None:
        """Name a database at `address`; nothing is read."""
        self._address, self._artifacts = address, artifacts

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(self._address, poolclass=NullPool)

    def keep_experiment(self, experiment: str) -> None:
        """Let new runs of an experiment have their artifacts in the store, and those whose artifacts are there.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database cannot be written.
        """
        place, number = self._artifacts.as_uri(), int(experiment)
        with self._engine.connect() as connection:
            query = text("SELECT artifact_location FROM experiments WHERE experiment_id = :experiment")
            if connection.execute(query, {"experiment": number}).scalar_one() == place:
                return
            runs = connection.execute(text(_RUNS), {"experiment": number}).all()
        for run, _ in runs:
            if self._folder(run).is_dir():
                self.keep_run(run)
        with self._engine.begin() as connection:
            change = text(
                "UPDATE experiments SET artifact_location = :place WHERE experiment_id = :experiment"
            )
            connection.execute(change, {"place": place, "experiment": number})

    def keep_run(self, run: str) -> None:
        """Let a run have its artifacts in the store.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database cannot be written.
        """
        values = {"place": self._folder(run).as_uri(), "run": run}
        with self._engine.connect() as connection:
            query = text("SELECT artifact_uri FROM runs WHERE run_uuid = :run")
            if connection.execute(query, values).scalar_one_or_none() in (None, values["place"]):
                return
        with self._engine.begin() as connection:
            connection.execute(text("UPDATE runs SET artifact_uri = :place WHERE run_uuid = :run"), values)

    def _folder(self, run: str) -> Path:
        return (
            self._artifacts / Path(run).name / "artifacts"
        )  # where MLflow puts it below its experiment's place
