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

import io
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.records import Array, BadInput, Rung, State, StudySpec, TaskReference, TrialRecord
from pipeline.store.confirmations import CONFIRM, Confirmations
from pipeline.store.exports import Exports
from pipeline.store.latency import StudyLatency, read_latency, write_latency
from pipeline.store.objects import (
    Bucket,
    ObjectStoreLost,
    dropped,
    is_light,
    is_object_store,
    open_bucket,
    place_text,
)
from pipeline.store.recordfile import (
    JSON,
    load_record,
    load_scalars,
    read_json,
    save_record,
    write_json,
    write_whole,
)
from pipeline.store.table import empty, from_bytes, joined, rows_of, still_valid, to_bytes
from pipeline.store.weights import Weights

__all__ = ["Outbox", "Spent", "Store", "load_record", "save_record"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # also a folder's name, on any file system
BEGUN = "begun"  # in the folder of an attempt in an object store, which has no empty folders
INTERRUPTED = "interrupted"  # in an attempt's folder: it was a person who ended it
SPEC, SPACE, VALIDATION, TABLE = "spec.json", "space.toml", "validation.npz", "points.arrow"
TASK, OUTBOX, SPENT = "task.json", "outbox.json", "spent.json"


@dataclass(frozen=True)
class Outbox:
    """What MLflow was still owed when a study's driver ended: trials, its front, and how it ended."""

    address: str  # where to, without user and password
    trials: tuple[int, ...]
    state: State


@dataclass(frozen=True)
class Spent:
    """What a study has used so far, over all of its drivers."""

    seconds: float = 0.0  # that a driver ran its trials
    gpu_seconds: float = 0.0  # of GPUs that were given to trials, whether they ended or were lost


_SPEC, _TASK = TypeAdapter(StudySpec), TypeAdapter(TaskReference)
_OUTBOX = TypeAdapter(Outbox)
_SPENT = TypeAdapter(Spent)


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
        if self.bucket is not None:
            self._check_bucket(self.bucket)
            return
        place = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        try:
            trial = place / f".{secrets.token_hex(4)}.part"
            trial.write_bytes(b"x")
            trial.unlink()
        except OSError as error:
            raise BadInput(
                f"--store is a folder that can be written; {self.root} is not: {error.strerror} at {place}. "
                "Choose another folder."
            ) from error

    def _check_bucket(self, bucket: Bucket) -> None:
        mark = self.root / f"seen-{secrets.token_hex(4)}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            write_whole(mark, b"x")
            bucket.drop(mark)
        except ObjectStoreLost as error:
            raise BadInput(
                f"--store is a folder, or s3://BUCKET/PREFIX that can be written. {error}"
            ) from None
        finally:
            mark.unlink(missing_ok=True)

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
        if not NAME.fullmatch(study):
            raise BadInput(
                f"A study's name is up to 100 letters, digits, '.', '_' and '-', the first a letter or digit; "
                f"given was {study!r}. Choose another name."
            )
        return self.root / "studies" / study

    def model_folder(self, study: str) -> Path:
        """The copy of a study's model that restarts are served from."""
        return self._fetched(self.study_folder(study) / "model")

    def dense_file(self, study: str) -> Path:
        """The weights of a study's dense network, if its trials start from them or learn from them."""
        return self._fetched(self.study_folder(study) / "dense.safetensors")

    def _fetched(self, path: Path) -> Path:
        if self.bucket is not None:
            self.bucket.fetch(path)
        return path

    def teacher_file(self, study: str) -> Path:
        """What a study's dense network says of its training rows, if its trials learn from that."""
        return self._fetched(self.study_folder(study) / "teacher.safetensors")

    def fitted_file(self, study: str) -> Path:
        """What was fitted to a study's base model, for a method that needs it: as it was when the study began."""
        return self._fetched(self.study_folder(study) / "fitted.safetensors")

    def read_latency(self, study: str) -> StudyLatency:
        """What is known of a study's speed.

        Raises:
            BadInput: the file is damaged, or a newer program wrote it.
        """
        return read_latency(self.study_folder(study))

    def write_latency(self, study: str, latency: StudyLatency) -> None:
        """Writes what is known of a study's speed, in place of what was there."""
        write_latency(self.study_folder(study), latency)

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

    def write_task(self, study: str, task: TaskReference) -> None:
        """Writes how the study's task is named, in place of what was written before."""
        folder = self.study_folder(study)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / TASK, task)

    def find_task(self, study: str) -> TaskReference | None:
        """How the study's task is named; None if nothing was written about it.

        Raises:
            BadInput: there is no such study.
        """
        self._check_known(study)
        path = self.study_folder(study) / TASK
        return read_json(path, _TASK) if path.is_file() else None

    def write_validation(self, study: str, ids: list[str], labels: Array) -> None:
        """Writes the ids and labels [V] of the rows that all points of the study are measured on."""
        folder = self.study_folder(study)
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, ids=np.array(ids, dtype=np.str_), labels=labels)
        write_whole(folder / VALIDATION, buffer.getvalue())

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
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["ids"].tolist(), arrays["labels"]

    def trial_folder(self, study: str, number: int) -> Path:
        """Where a trial's record and attempts are."""
        return self.study_folder(study) / "trials" / f"{number:05d}"

    def weights(self, study: str) -> Weights:
        """The weights of the study's networks."""
        return Weights(self.study_folder(study) / "trials")

    def exports(self, study: str) -> Exports:
        """What the study's exported networks measured on test rows."""
        return Exports(self.study_folder(study))

    def confirmations(self, study: str) -> Confirmations:
        """The study's points that were trained again on fresh seeds."""
        return Confirmations(self.study_folder(study) / CONFIRM)

    def attempts(self, study: str, number: int) -> int:
        """How many attempts at a trial have begun and not been cleared away."""
        names = (path.name.split("-")[1] for path in self.trial_folder(study, number).glob("attempt-*"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def lost_attempts(self, study: str, number: int) -> int:
        """Attempts that ended without a record, but for those that a person interrupted."""
        attempts = self.trial_folder(study, number).glob("attempt-*")
        return sum(not (folder / INTERRUPTED).exists() for folder in attempts)

    def mark_interrupted(self, study: str, number: int) -> None:
        """Says that a person ended the trial's last attempt."""
        attempts = sorted(self.trial_folder(study, number).glob("attempt-*"))
        for folder in attempts[-1:]:
            write_whole(folder / INTERRUPTED, b"")

    def next_attempt(self, study: str, number: int) -> Path:
        """Creates the folder of a new attempt, which nobody else is given; those of before are there in full."""
        if self.bucket is not None:
            self.bucket.fetch(self.trial_folder(study, number))
        attempt = self.attempts(study, number)
        while True:
            attempt += 1
            name = f"attempt-{attempt:02d}"  # sorted by name = by number
            if self.bucket is not None:  # another machine may count to the same number
                name += f"-{secrets.token_hex(4)}"
            folder = self.trial_folder(study, number) / name
            try:
                folder.mkdir(parents=True)
            except FileExistsError:  # another process was quicker
                continue
            if self.bucket is not None:
                write_whole(folder / BEGUN, b"")
            return folder

    def shown_record(self, study: str, number: int) -> TrialRecord | None:
        """What a running trial has left of itself at its last rung; None if it was at none."""
        attempts = sorted(self.trial_folder(study, number).glob(f"attempt-*/{JSON}"))
        return load_record(attempts[-1].parent) if attempts else None

    def clear_attempts(self, study: str, number: int) -> None:
        """Removes what a trial that has ended needs no more."""
        for folder in self.trial_folder(study, number).glob("attempt-*"):
            shutil.rmtree(folder, ignore_errors=True)
            dropped(folder)

    def read_rungs(self, study: str, number: int) -> tuple[Rung, ...]:
        """The rungs that a trial, ended or running, was at."""
        if self.has_record(study, number):
            return load_scalars(self.trial_folder(study, number)).rungs
        shown = self.shown_record(study, number)
        return () if shown is None else shown.rungs

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
        return sorted(self._written(study))

    def ended_in_order(self, study: str) -> list[int]:
        """The trials that have ended, in the order in which their records were written."""
        written = self._written(study)
        return sorted(written, key=lambda number: (written[number], number))

    def read_trial(self, study: str, number: int) -> pa.Table:
        """One trial's rows, as `read_table` has them.

        Raises:
            BadInput: there is no such record, or it cannot be read.
        """
        folder = self.trial_folder(study, number)
        scalars = load_scalars(folder)
        return joined(empty(), rows_of(scalars, written_ns=(folder / JSON).stat().st_mtime_ns))

    def write_outbox(self, study: str, outbox: Outbox | None) -> None:
        """Notes what MLflow is owed; None: nothing."""
        path = self.study_folder(study) / OUTBOX
        if outbox is None:
            path.unlink(missing_ok=True)
            dropped(path)
        else:
            write_json(path, outbox)

    def read_outbox(self, study: str) -> Outbox | None:
        """What MLflow was owed when the study's last driver ended; None: nothing, or it was killed."""
        path = self.study_folder(study) / OUTBOX
        return read_json(path, _OUTBOX) if path.is_file() else None

    def write_spent(self, study: str, spent: Spent) -> None:
        """Notes what the study has used so far."""
        write_json(self.study_folder(study) / SPENT, spent)

    def read_spent(self, study: str) -> Spent:
        """What the study has used so far."""
        path = self.study_folder(study) / SPENT
        return read_json(path, _SPENT) if path.is_file() else Spent()

    def gather(self, study: str) -> None:
        """Brings the study's points.arrow up to date with its records. Only the driver does this.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        table, changed = self._collect(study)
        if changed:
            write_whole(self.study_folder(study) / TABLE, to_bytes(table))

    def read_table(self, study: str) -> pa.Table:
        """All points of all trials that have ended, gathered or not: the columns of `table.COLUMNS`.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        return self._collect(study)[0]

    def _collect(self, study: str) -> tuple[pa.Table, bool]:
        """The whole table, and whether it says more or less than points.arrow."""
        self._check_known(study)
        path = self.study_folder(study) / TABLE
        gathered = from_bytes(path.read_bytes()) if path.is_file() else empty()
        written = self._written(study)
        valid, known = still_valid(gathered, written)
        fresh = [number for number in sorted(written) if number not in known]
        rows = [
            row
            for number in fresh
            for row in rows_of(load_scalars(self.trial_folder(study, number)), written_ns=written[number])
        ]
        return joined(valid, rows), bool(fresh) or len(valid) < len(gathered)

    def _written(self, study: str) -> dict[int, int]:
        """When each trial's record was written, in ns."""
        trials = self.study_folder(study) / "trials"
        found: dict[int, int] = {}
        for folder in trials.iterdir() if trials.is_dir() else ():
            if folder.name.isdecimal():
                with suppress(FileNotFoundError):
                    found[int(folder.name)] = (folder / JSON).stat().st_mtime_ns
        return found

    def _check_known(self, study: str) -> None:
        if not self.has_study(study):
            known = ", ".join(self.list_studies()) or "none"
            raise BadInput(
                f"A study is in the store; {place_text(self.place)} has no study {study!r}. Its studies: {known}."
            )
