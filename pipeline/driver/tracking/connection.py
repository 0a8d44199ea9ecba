"""A connection to MLflow, in the few calls that `tracking` needs. Only this file and `opening` import MLflow."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.driver.tracking.addresses import cause_of, shown
from pipeline.driver.tracking.models import ExportedModel, write_model
from pipeline.driver.tracking.relocation import OwnDatabase
from pipeline.driver.tracking.values import Status, Value
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"  # MLflow's tag of a run below another one
PAGE = 1000  # runs read at once
BATCH = 900  # values written at once: MLflow takes 1000 values, parameters and tags together
HINTS = {
    "401": ": set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "403": ": may we write there? A server called by a name needs it in its --allowed-hosts",
    "404": ": is it an MLflow server?",
}


class TrackingLost(RuntimeError):  # noqa: N818 (a fact about a server, not a fault of the program)
    """A call to MLflow failed. A study goes on without it; its next start completes what is missing."""


@dataclass(frozen=True)
class Run:
    """A run in MLflow; `milliseconds` since 1970 is when it began."""

    id: str
    status: str  # RUNNING, FINISHED, FAILED, KILLED
    milliseconds: int
    tags: Mapping[str, str]
    metrics: Mapping[str, float]  # the last of each


@final
class Connection:
    """An MLflow server or database. Every method may raise TrackingLost."""

    def __init__(
        self, client: MlflowClient, address: str, *, artifacts: Path | None, own: OwnDatabase | None = None
    ) -> None:
        """Connect to what `client` reaches.

        Args:
            client: of MLflow.
            address: of the server or database.
            artifacts: where those of a database go; a server decides itself.
            own: the same, if it is the store's own database, whose artifacts are in the store.
        """
        self._client = client
        self._address = address
        self._artifacts = artifacts
        self._own = own

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, created if it is new.

        Raises:
            BadInput: it was deleted, or the folder of its artifacts is gone.
        """
        from mlflow.exceptions import MlflowException

        with self._mlflow_errors():
            known = self._client.get_experiment_by_name(name)
            if known is None:
                location = None if self._artifacts is None else self._artifacts.as_uri()
                try:
                    return str(self._client.create_experiment(name, location))
                except MlflowException:  # another study of the task was quicker, or the connection is lost
                    known = self._client.get_experiment_by_name(name)
                    if known is None:
                        raise
        if known.lifecycle_stage != "active":
            raise BadInput(
                f"{name!r} was deleted in MLflow. Studies of a task share an experiment. Restore it "
                f"(`mlflow experiments restore -x {known.experiment_id}`) or end it for good (`mlflow "
                "gc`)."
            )
        if self._own is not None:
            with self._mlflow_errors():
                self._own.keep_experiment(str(known.experiment_id))
        else:
            _check_location(name, str(known.artifact_location))
        return str(known.experiment_id)

    def find_experiment(self, name: str) -> str | None:
        """Return the id of an experiment; None if there is none, or it was deleted."""
        with self._mlflow_errors():
            known = self._client.get_experiment_by_name(name)
            if not known or known.lifecycle_stage != "active":
                return None
            if self._own is not None:
                self._own.keep_experiment(str(known.experiment_id))
        return str(known.experiment_id)

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set those tags of an experiment that differ."""
        with self._mlflow_errors():
            known = self._client.get_experiment(experiment_id).tags
            for key, value in tags.items():
                if known.get(key) != value:
                    self._client.set_experiment_tag(experiment_id, key, value)

    def runs(self, experiment_id: str, *, tag: str, value: str) -> list[Run]:
        """Return all runs with a tag, the oldest first. `value` has no quotes in it."""
        return self._search([experiment_id], {tag: value})

    def tagged(self, tags: Mapping[str, str]) -> list[Run]:
        """Return all runs of all experiments with these tags, the oldest first. No quotes in names or values."""
        with self._mlflow_errors():
            experiments = [str(each.experiment_id) for each in self._client.search_experiments()]
        return self._search(experiments, tags)

    def _search(self, experiments: list[str], tags: Mapping[str, str]) -> list[Run]:
        found: list[Run] = []
        token = None
        condition = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
        with self._mlflow_errors():
            while True:
                page = self._client.search_runs(
                    experiments,
                    condition,
                    max_results=PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                found += [_run(run) for run in page]
                token = page.token
                if not token:
                    return found

    def begin(self, experiment_id: str, *, name: str, tags: Mapping[str, str], seconds: float = 0.0) -> Run:
        """Create a run, which began `seconds` ago."""
        start = now() - round(1000 * seconds)
        with self._mlflow_errors():
            return _run(self._client.create_run(experiment_id, start, dict(tags), name))

    def reopen(self, run: Run) -> None:
        """Continue a run that had ended, or whose driver died."""
        with self._mlflow_errors():
            self._client.update_run(run.id, status="RUNNING")

    def write(
        self,
        run_id: str,
        *,
        values: Sequence[Value] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write numbers, parameters and tags, in one call up to BATCH numbers."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(v.key, v.value, v.milliseconds, v.step) for v in values]
        first = (
            [Param(*pair) for pair in (params or {}).items()],
            [RunTag(*pair) for pair in (tags or {}).items()],
        )
        with self._mlflow_errors():
            for at in range(0, max(len(metrics), 1), BATCH):
                self._client.log_batch(run_id, metrics[at : at + BATCH], *(first if at == 0 else ()))

    @contextmanager
    def artifacts(self, run_id: str) -> Iterator[Path]:
        """Provide a folder whose files become a run's artifacts at the end. A full disk is TrackingLost, too."""
        with self._mlflow_errors(), tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
            if self._own is not None:
                self._own.keep_run(run_id)
            self._client.log_artifacts(run_id, folder)

    @contextmanager
    def fetched(self, run_id: str, *names: str) -> Iterator[Path]:
        """Provide a folder with some of a run's artifacts."""
        with tempfile.TemporaryDirectory() as folder:
            with self._mlflow_errors():
                for name in names:
                    self._client.download_artifacts(run_id, name, folder)
            yield Path(folder)

    def end(self, run_id: str, status: Status, *, milliseconds: int | None = None) -> None:
        """End a run, now or at the given time."""
        with self._mlflow_errors():
            self._client.set_terminated(run_id, status, milliseconds)

    def log_model(self, experiment_id: str, run_id: str, model: ExportedModel) -> str:
        """Add a model to a run, with its measurements; return its address, models:/ID.

        A model that could not be written whole is marked as failed.
        """
        from mlflow.entities import LoggedModelOutput, Metric

        with self._mlflow_errors():
            begun = self._client.create_logged_model(
                experiment_id, name=model.name, source_run_id=run_id, model_type="classifier"
            )
            try:
                with tempfile.TemporaryDirectory() as parent:
                    folder = Path(parent) / "model"
                    write_model(folder, model, model_id=begun.model_id, run_id=run_id)
                    self._client.log_model_artifacts(begun.model_id, str(folder))
            except BaseException:
                self._client.finalize_logged_model(begun.model_id, "FAILED")
                raise
            self._client.finalize_logged_model(begun.model_id, "READY")
            self._client.log_outputs(run_id, [LoggedModelOutput(begun.model_id, step=0)])
            at = now()
            metrics = [
                Metric(key, value, at, 0, model_id=begun.model_id) for key, value in model.values.items()
            ]
            self._client.log_batch(run_id, metrics)
        return f"models:/{begun.model_id}"

    def delete(self, run_id: str) -> None:
        """Move a run to MLflow's trash."""
        with self._mlflow_errors():
            self._client.delete_run(run_id)

    def page(self, experiment_id: str, run_id: str) -> str:
        """Return where to look at a run: its page on a server; for a database, the command that starts one, too."""
        path = f"/#/experiments/{experiment_id}/runs/{run_id}"
        if self._artifacts is None:
            return shown(self._address).rstrip("/") + path
        return f"mlflow ui --backend-store-uri {shown(self._address)}, then http://127.0.0.1:5000{path}"

    @contextmanager
    def _mlflow_errors(self) -> Iterator[None]:
        """Turn the errors of MLflow's libraries into TrackingLost."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingLost(f"MLflow at {shown(self._address)}: {cause(error, self._address)}") from None


def now() -> int:
    """Return the milliseconds since 1970."""
    return round(1000 * time.time())


def _run(run: mlflow.entities.Run) -> Run:
    info, data = run.info, run.data
    return Run(info.run_id, info.status, info.start_time, dict(data.tags), dict(data.metrics))


def _check_location(name: str, location: str) -> None:
    """Refuse an experiment whose folder of artifacts is gone with its store."""
    if not location.startswith("file://"):
        return
    folder = Path(url2pathname(urlsplit(location).path))
    if not folder.parent.exists():
        raise BadInput(
            f"The artifacts of {name!r} are in {folder}, and {folder.parent} is not there. MLflow "
            "keeps whole paths. Was the store moved? Move it back, link its old place to the new "
            "one, or name another --tracking."
        )


def cause(error: BaseException, address: str) -> str:
    """Return the cause of an error, without the address's secrets; of a server's refusal, its status and a hint."""
    status = re.search(r"error code (\d{3})", str(error))
    if status is None:
        return cause_of(error, address)
    return f"it answers with HTTP status {status[1]}{HINTS.get(status[1], '')}"
