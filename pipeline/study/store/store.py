"""The folder of all studies: specs, records, and one table per study that is quick to read.

    ROOT/studies.db, mlflow.db, artifacts/, cache/
    ROOT/studies/NAME/spec.json, task.json, space.toml, validation.npz, points.arrow, model/, spent.json, outbox.json,
        latency.json
    ROOT/studies/NAME/trials/NNNNN/record.json, record.npz, weights/, attempt-KK/
    ROOT/studies/NAME/confirm/

Every file is renamed into place when it is whole. points.arrow is a copy of what the records' JSON says, made
by the driver: it may be behind, or gone, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.study.records import Array, BadInput, StudySpec, TaskReference, TrialRecord
from pipeline.study.store.attempts import Attempts
from pipeline.study.store.checks import check_name, check_place
from pipeline.study.store.confirmations import CONFIRM, Confirmations
from pipeline.study.store.exports import Exports
from pipeline.study.store.gathering import (
    TRIALS,
    gather,
    study_table,
    trial_folder,
    trial_table,
    when_written,
)
from pipeline.study.store.latency import StudyLatency
from pipeline.study.store.objects import Bucket, is_light, is_object_store, open_bucket, place_text
from pipeline.study.store.origin import Origin
from pipeline.study.store.recordfile import (
    JSON,
    load_record,
    load_scalars,
    read_json,
    save_record,
    write_json,
    write_whole,
)
from pipeline.study.store.studyfile import (
    Outbox,
    Spent,
    StudyFile,
    latency_file,
    outbox_file,
    spent_file,
    task_file,
)
from pipeline.study.store.validation_rows import read_rows, write_rows
from pipeline.study.store.weights import Weights

DEFAULT_STORE = Path("mlflow_runs")
SPEC, SPACE, VALIDATION = "spec.json", "space.toml", "validation.npz"
_SPEC = TypeAdapter(StudySpec)


@dataclass(frozen=True)
class Store:
    """The folder `root`, as an absolute path. Nothing is created before it is written to.

    Of s3://BUCKET/PREFIX `root` is the working copy on this machine, and `place` what it is a copy of.
    """

    root: Path
    place: Path = field(init=False)
    bucket: Bucket | None = field(init=False)
    _fresh: set[str] = field(init=False, default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        bucket = open_bucket(self.root) if is_object_store(self.root) else None
        root = Path(self.root).expanduser().resolve() if bucket is None else bucket.copy
        object.__setattr__(self, "place", root if bucket is None else self.root)
        object.__setattr__(self, "bucket", bucket)
        object.__setattr__(self, "root", root)

    @property
    def studies_db(self) -> Path:
        """Optuna's storage."""
        return self.root / "studies.db"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's tracking store."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "artifacts"

    @property
    def cache(self) -> Path:
        """What can be made again: parsed tasks, dense anchors."""
        return self.root / "cache"

    def check_writable(self) -> None:
        """Tries the folder, or the nearest one above it that is there; leaves nothing behind.

        Raises:
            BadInput: nothing can be written there.
        """
        check_place(self.root, self.bucket)

    def patient(self, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """In the `with`, a bucket that does not answer is waited for, for two minutes, and `tell` is told."""
        return nullcontext() if self.bucket is None else self.bucket.patient(tell)

    def look(self) -> None:
        """Asks the bucket once whether it is there; a folder is.

        Raises:
            ObjectStoreLost: it does not answer.
        """
        if self.bucket is not None:
            self.bucket.look()

    def refresh(self, study: str | None = None, number: int | None = None) -> None:
        """Reads anew what other machines have written: of a trial, a study, or all; of a folder there is no need."""
        if self.bucket is None:
            return
        folder = self.root / "studies" if study is None else self.study_folder(study)
        if study is not None and number is not None:
            folder = self.trial_folder(study, number)
        self.bucket.fetch(folder, wanted=is_light)

    def _freshen(self, study: str | None) -> None:
        """Once in this object's life."""
        if self.bucket is not None and not {study or "", ""} & self._fresh:
            self._fresh.add(study or "")
            self.refresh(study)

    def study_folder(self, study: str) -> Path:
        """Where a study is, or would be.

        Raises:
            BadInput: no study can have that name.
        """
        check_name(study)
        return self.root / "studies" / study

    def list_studies(self) -> list[str]:
        """The studies that have a spec, by name."""
        self._freshen(None)
        return sorted(path.parent.name for path in self.root.glob(f"studies/*/{SPEC}"))

    def has_study(self, study: str) -> bool:
        """Whether the study has a spec."""
        self._freshen(study)
        return (self.study_folder(study) / SPEC).is_file()

    def write_spec(self, spec: StudySpec) -> None:
        """Writes a study's spec, and its space beside it for people to read."""
        folder = self.study_folder(spec.name)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / SPACE, spec.space_toml.encode())
        write_json(folder / SPEC, spec)

    def read_spec(self, study: str) -> StudySpec:
        """A study's spec.

        Raises:
            BadInput: there is no such study (says which there are), or its spec cannot be read.
        """
        self._check_known(study)
        return read_json(self.study_folder(study) / SPEC, _SPEC)

    def write_validation(self, study: str, ids: list[str], labels: Array) -> None:
        """Writes the ids and labels [V] of the rows that all points of the study are measured on."""
        write_rows(self.study_folder(study) / VALIDATION, ids, labels)

    def read_validation(self, study: str) -> tuple[list[str], Array]:
        """Ids and labels [V] of the study's validation rows.

        Raises:
            BadInput: there is no such study, or it has not begun.
        """
        self._check_known(study)
        path = self.study_folder(study) / VALIDATION
        if not path.is_file():
            raise BadInput(
                f"A study that has begun has its validation rows; {path} is missing. Start it again."
            )
        return read_rows(path)

    def trial_folder(self, study: str, number: int) -> Path:
        """Where a trial's record and attempts are."""
        return trial_folder(self.study_folder(study), number)

    def origin(self, study: str) -> Origin:
        """What all trials of the study begin with."""
        return Origin(self.study_folder(study))

    def weights(self, study: str) -> Weights:
        """The weights of the study's networks."""
        return Weights(self.study_folder(study) / TRIALS)

    def exports(self, study: str) -> Exports:
        """What the study's exported networks measured on test rows."""
        return Exports(self.study_folder(study))

    def confirmations(self, study: str) -> Confirmations:
        """The study's points that were trained again on fresh seeds."""
        return Confirmations(self.study_folder(study) / CONFIRM)

    def task(self, study: str) -> StudyFile[TaskReference | None]:
        """How the study's task is named; None if nothing was written about it."""
        return task_file(self.study_folder(study))

    def latency(self, study: str) -> StudyFile[StudyLatency]:
        """What is known of the study's speed."""
        return latency_file(self.study_folder(study))

    def outbox(self, study: str) -> StudyFile[Outbox | None]:
        """What MLflow was owed when the study's last driver ended; None: nothing, or it was killed."""
        return outbox_file(self.study_folder(study))

    def spent(self, study: str) -> StudyFile[Spent]:
        """What the study has used so far."""
        return spent_file(self.study_folder(study))

    def attempts(self, study: str, number: int) -> Attempts:
        """The attempts at a trial."""
        return Attempts(self.trial_folder(study, number))

    def write_record(self, study: str, record: TrialRecord) -> None:
        """Writes how a trial ended, in place of a record that is there."""
        save_record(self.trial_folder(study, record.number), record)

    def read_record(self, study: str, number: int) -> TrialRecord:
        """A trial's record, with masks and predictions.

        Raises:
            BadInput: there is no such study or record, or it cannot be read.
        """
        if not self.has_record(study, number):
            self._check_known(study)
        return load_record(self.trial_folder(study, number))

    def read_provenance(self, study: str, number: int) -> dict[str, str]:
        """Where a trial's numbers come from: versions, machine, what it used.

        Raises:
            BadInput: there is no such record, or it cannot be read.
        """
        return load_scalars(self.trial_folder(study, number)).provenance

    def has_record(self, study: str, number: int) -> bool:
        """Whether a trial has ended."""
        return (self.trial_folder(study, number) / JSON).is_file()

    def finished_numbers(self, study: str) -> list[int]:
        """The trials that have ended."""
        return sorted(when_written(self.study_folder(study)))

    def ended_in_order(self, study: str) -> list[int]:
        """The trials that have ended, in the order in which their records were written."""
        written = when_written(self.study_folder(study))
        return sorted(written, key=lambda number: (written[number], number))

    def read_trial(self, study: str, number: int) -> pa.Table:
        """One trial's rows, as `read_table` has them.

        Raises:
            BadInput: there is no such record, or it cannot be read.
        """
        return trial_table(self.study_folder(study), number)

    def gather(self, study: str) -> None:
        """Brings the study's points.arrow up to date with its records. Only the driver does this.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        self._check_known(study)
        gather(self.study_folder(study))

    def read_table(self, study: str) -> pa.Table:
        """All points of all trials that have ended, gathered or not: the columns of `table.COLUMNS`.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        self._check_known(study)
        return study_table(self.study_folder(study))

    def _check_known(self, study: str) -> None:
        if not self.has_study(study):
            known = ", ".join(self.list_studies()) or "none"
            raise BadInput(
                f"A study is in the store; {place_text(self.place)} has no study {study!r}. Its studies: {known}."
            )
