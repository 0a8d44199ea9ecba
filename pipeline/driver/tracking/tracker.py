"""Write records to MLflow, and read them back. MLflow is a published view; the ledger is the truth.

One experiment per task, one run per study, one run below it per trial. All are found again by their tags, and the
status that ends a run is written last: a run whose driver died is written again, and nothing is stored twice.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from pipeline.driver.tracking import confirmations, doubles, notes, pruners, published, views
from pipeline.driver.tracking.connection import PARENT, Connection, Run, now
from pipeline.driver.tracking.models import ExportedModel
from pipeline.driver.tracking.opening import connect
from pipeline.fronts.confirmed import Confirmed
from pipeline.fronts.figures import Series, as_html, dots, front_figure, hypervolume_figure, still
from pipeline.fronts.front import Front
from pipeline.study.records import BadInput, State, StudySpec, TrialRecord
from pipeline.study.store import Points, load_record, save_record

# Tags that MLflow's pages read
NOTE, TABLES = "mlflow.note.content", "mlflow.loggedArtifacts"
KIND = "mlflow.experimentKind"


@dataclass
class _Study:
    """The study that is being published, and what MLflow has of it."""

    spec: StudySpec
    experiment_id: str
    run_id: str
    trials: dict[int, Run]
    standing: int  # the number of ended trials that was last published, -1 for none


def open_tracking(uri: str | None, *, store_root: Path) -> Tracker:
    """Open MLflow at `uri`, else at MLFLOW_TRACKING_URI, else a database in the store, created if it is new.

    Raises:
        NoAnswer: it cannot be reached within some seconds.
        BadInput: the address is no place for runs.
    """
    return Tracker(connect(uri, store_root=store_root))


@final
class Tracker:
    """Publish one study. Only its driver may.

    Every method may raise TrackingLost; the same call, now or by a later driver, completes it.
    """

    def __init__(self, connection: Connection) -> None:
        self._mlflow = connection
        self._study: _Study | None = None
        self._was: State | None = None

    def studies_tagged(self, tags: Mapping[str, str]) -> list[str]:
        """Return the names of the studies whose runs have these tags, sorted.

        Raises:
            BadInput: a quote in a tag, which MLflow's filter cannot express.
            TrackingLost: MLflow does not answer.
        """
        for text in (*tags, *tags.values()):
            if not text or set(text) & set("'\"`"):
                raise BadInput(
                    f"The tag {text!r} has quotes, or nothing. MLflow finds runs by tags without quotes."
                )
        found = self._mlflow.tagged(tags)
        return sorted({run.tags[published.STUDY] for run in found if published.SPEC in run.tags})

    def start_study(self, spec: StudySpec, *, provenance: Mapping[str, str]) -> str:
        """Find the study's run, or create it, and what MLflow has of its trials. Return the run's id.

        Raises:
            BadInput: its experiment was deleted, or the folder of its artifacts is gone.
        """
        experiment_id = self._experiment(spec)
        tags = published.study_tags(spec)
        found = self._mlflow.runs(experiment_id, tag=published.SPEC, value=tags[published.SPEC])
        if found:
            run = found[0]
            doubles.merge(self._mlflow, experiment_id, run.id, found[1:])
            self._mlflow.reopen(run)
        else:
            tags |= _source() | published.provenance_tags(provenance) | {NOTE: notes.study_intro(spec)}
            run = self._mlflow.begin(experiment_id, name=spec.name, tags=tags)
        if published.DENSE not in run.metrics:
            anchors = published.study_values(spec, milliseconds=run.milliseconds)
            self._mlflow.write(run.id, values=anchors, params=published.study_params(spec))
        with self._mlflow.artifacts(run.id) as folder:
            (folder / "space.toml").write_text(spec.space_toml)
            (folder / "spec.json").write_text(json.dumps(asdict(spec), indent=2))
        standing = int(run.metrics.get(published.STANDING, -1))
        self._study = _Study(
            spec, experiment_id, run.id, doubles.trials_of(self._mlflow, experiment_id, run.id), standing
        )
        self._was = published.ENDED.get(run.status) if found else None
        return run.id

    @property
    def was(self) -> State | None:
        """How the study's run had ended when it was found; None if it was new, or still running."""
        return self._was

    def published(self) -> dict[int, State]:
        """Return the trials that are completely in MLflow, by number."""
        trials = self._started().trials
        return {
            number: published.ENDED[run.status]
            for number, run in trials.items()
            if run.status in published.ENDED
        }

    def publish(self, record: TrialRecord) -> None:
        """Write a trial's run. A trial that is complete in MLflow stays as it is."""
        study = self._started()
        if record.number in self.published():
            return
        if record.number not in study.trials:
            study.trials[record.number] = self._mlflow.begin(
                study.experiment_id,
                name=notes.trial_name(record),
                tags=self._trial_tags(record),
                seconds=record.seconds,
            )
        run = study.trials[record.number]
        values = published.trial_values(record, start=run.milliseconds)
        self._mlflow.write(run.id, values=values, params=published.trial_params(record))
        with self._mlflow.artifacts(run.id) as folder:
            save_record(folder, record)
            if record.points:
                (folder / published.CURVE).write_text(json.dumps(published.curve_table(record)))
        end = run.milliseconds + round(1000 * record.seconds)
        self._mlflow.end(run.id, published.STATUS[record.state], milliseconds=end)
        # of thousands of trials, only the runs' ids and states are kept in memory
        done = replace(run, status=published.STATUS[record.state], tags={}, metrics={})
        study.trials[record.number] = done

    def withdraw(self, number: int) -> None:
        """Move a trial's run to MLflow's trash: its record is gone from the store, and the trial is run again."""
        run = self._started().trials.pop(number, None)
        if run is not None:
            self._mlflow.delete(run.id)

    def publish_standing(self, found: Front) -> None:
        """Write the study's numbers after `found.trials` trials, in one call; nothing if they are written already."""
        study = self._started()
        if found.trials > study.standing:
            self._mlflow.write(study.run_id, values=published.front_values(found, milliseconds=now()))
            study.standing = found.trials

    def publish_front(self, found: Front, points: Points) -> None:
        """Write the front to the study's page: as a table, an interactive page, a picture and a note.

        Args:
            found: the front.
            points: the measured networks of the study's complete trials.
        """
        study = self._started()
        self.publish_standing(found)
        series = [Series(study.spec, dots(points))]
        with self._mlflow.artifacts(study.run_id) as folder:
            (folder / published.FRONT).write_text(json.dumps(published.front_table(found)))
            front = front_figure(series)
            page = as_html([front, hypervolume_figure(series)])
            (folder / "front.html").write_text(page, encoding="utf-8")
            (folder / "front.png").write_bytes(still(front))
        place = study.experiment_id, study.spec.name
        table, charts = (views.link(*place, charts=as_charts) for as_charts in (False, True))
        note = notes.study_note(found, table=table, charts=charts)
        self._mlflow.write(study.run_id, tags={NOTE: note, TABLES: _tables(published.FRONT)})

    def publish_report(self, spec: StudySpec, page: str) -> bool:
        """Write a page to the study's run as report.html; return False if the study is not in MLflow."""
        run_id = self._find_study(spec)
        if run_id is None:
            return False
        with self._mlflow.artifacts(run_id) as folder:
            (folder / "report.html").write_text(page, encoding="utf-8")
        return True

    def publish_confirmed(self, found: Confirmed) -> bool:
        """Write the study's confirmed points, a run each below its own; return False if the study is not in MLflow.

        The study need not have been started, and its run stays as it is. Writing the same twice changes nothing.
        """
        study_run = self._find_study(found.spec)
        if study_run is None:
            return False
        experiment_id = self._experiment(found.spec)
        above = {PARENT: study_run} | _source()
        confirmations.publish(self._mlflow, experiment_id, found, above=above)
        return True

    def publish_pruner(self, about: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Write a fitted pruner's run, which belongs to no study."""
        pruners.publish(self._mlflow, about, files, tags=_source())

    def finish_study(self, state: State) -> None:
        """End the study's run: complete, stopped (interrupted) or failed; of runs that are there twice one stays."""
        study = self._started()
        tag, value = published.SPEC, published.fingerprint(study.spec)
        runs = self._mlflow.runs(study.experiment_id, tag=tag, value=value)
        if runs:  # the oldest stays
            own, study.run_id = study.run_id, runs[0].id
            if own not in {run.id for run in runs}:  # another one has merged it meanwhile
                doubles.move_trials(self._mlflow, study.experiment_id, study.run_id, own)
            doubles.merge(self._mlflow, study.experiment_id, study.run_id, runs[1:])
        doubles.trials_of(self._mlflow, study.experiment_id, study.run_id)
        self._mlflow.end(study.run_id, published.STATUS[state])

    def publish_model(self, spec: StudySpec, model: ExportedModel) -> str | None:
        """Add an exported network to its trial's run and return its address; None if the trial is not in MLflow.

        The study need not be started, and the caller need not be its driver: existing runs keep their status.
        """
        experiment_id = self._mlflow.find_experiment(notes.experiment_name(spec.task))
        if experiment_id is None:
            return None
        studies = self._mlflow.runs(experiment_id, tag=published.SPEC, value=published.fingerprint(spec))
        for study in studies[:1]:
            for run in self._mlflow.runs(experiment_id, tag=PARENT, value=study.id):
                if run.tags.get(published.TRIAL) == str(model.trial):
                    return self._mlflow.log_model(experiment_id, run.id, model)
        return None

    def read_record(self, run_id: str) -> TrialRecord:
        """Return the record of a trial's run."""
        with self._mlflow.fetched(run_id, "record.npz", "record.json") as folder:
            return load_record(folder)

    def run_id(self, number: int) -> str:
        """Return the id of a trial's run.

        Raises:
            KeyError: it is not in MLflow.
        """
        return self._started().trials[number].id

    @property
    def page(self) -> str:
        """Where to look at the study: its page on a server, or the command that shows the database."""
        study = self._started()
        return self._mlflow.page(study.experiment_id, study.run_id)

    def _started(self) -> _Study:
        if self._study is None:
            raise RuntimeError("A tracker publishes a study that has been started: call start_study first.")
        return self._study

    def _find_study(self, spec: StudySpec) -> str | None:
        """Return the id of a study's run; the study need not have been started here."""
        tag, value = published.SPEC, published.fingerprint(spec)
        found = self._mlflow.runs(self._experiment(spec), tag=tag, value=value)
        return found[0].id if found else None

    def _experiment(self, spec: StudySpec) -> str:
        """Return the id of the experiment of the study's task, and set its note and views."""
        experiment_id = self._mlflow.experiment(notes.experiment_name(spec.task))
        note = notes.experiment_note(spec.task, studies=views.link(experiment_id, views.STUDIES))
        tags = {NOTE: note, KIND: "custom_model_development"} | views.studies_view() | views.trials_view(spec)
        self._mlflow.tag_experiment(experiment_id, tags)
        return experiment_id

    def _trial_tags(self, record: TrialRecord) -> dict[str, str]:
        study = self._started()
        tags = published.trial_tags(record, study=study.spec.name) | _source()
        tags |= {PARENT: study.run_id, NOTE: notes.trial_note(record, study.spec)}
        return tags | ({TABLES: _tables(published.CURVE)} if record.points else {})


def _source() -> dict[str, str]:
    """Return the tags with which MLflow names a run's program and user."""
    tags = {"mlflow.source.name": "prunefront", "mlflow.source.type": "LOCAL"}
    try:
        return tags | {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a container's user without a name
        return tags


def _tables(name: str) -> str:
    """Return the tag that makes MLflow show a JSON artifact as a table."""
    return json.dumps([{"path": name, "type": "table"}])
