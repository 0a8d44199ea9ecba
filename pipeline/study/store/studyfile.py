"""Small files of a study, each one dataclass in JSON; each may be missing.

ROOT/studies/NAME/task.json, data.json, ledger.json, outbox.json, spent.json, latency.json, asked.json, began.json
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from pipeline.study.records import OriginalSize, State, TaskReference
from pipeline.study.store.latency import StudyLatency
from pipeline.study.store.objects import drop
from pipeline.study.store.recordfile import json_bytes, read_json, write_json
from pipeline.study.store.written_once import send_new

T = TypeVar("T")


@dataclass(frozen=True)
class StudyFile(Generic[T]):
    """One such file; `nothing` is the value that stands for a missing file."""

    path: Path
    kind: TypeAdapter[T]
    nothing: T

    def read(self) -> T:
        """Return the value that was written last.

        Raises:
            BadInput: the file is damaged, or a newer version wrote it.
        """
        return read_json(self.path, self.kind) if self.path.exists() else self.nothing

    def write(self, value: T) -> None:
        """Replace the value; writing `nothing` removes the file."""
        if value == self.nothing:
            self.path.unlink(missing_ok=True)
            drop(self.path)
        else:
            write_json(self.path, value)

    def write_once(self, value: T) -> None:
        """Write the value unless there is one."""
        send_new(self.path, json_bytes(value))


LATER = "later"  # as MLflow's address: nothing is published before `studies --sync`


@dataclass(frozen=True)
class Outbox:
    """What was not yet published in MLflow when a study's driver ended: trials, the front, the study's state."""

    address: str  # of MLflow, without user and password
    trials: tuple[int, ...]
    state: State


@dataclass(frozen=True)
class Spent:
    """The resources that a study has used, summed over its drivers."""

    seconds: float = 0.0  # in which a driver ran trials
    gpu_seconds: float = 0.0  # of the GPUs assigned to trials, whether these ended or were lost


@dataclass(frozen=True)
class Began:
    """Which search a study began with: a random word that all its attempts and records have.

    A search that ends before its dense network is trained may be followed by another one of the same name, which begins
    anew. Workers of the first that were cut off from their driver find that the word is another one.
    """

    search: str = ""  # empty: of an earlier version


@dataclass(frozen=True)
class Asked:
    """What the last search of a study was asked for, and whether it came to its end."""

    trials: int = 0  # 0: not noted
    done: bool = False


@dataclass(frozen=True)
class DataFacts:
    """What is known of a study's rows and model beside its spec, as they were last read.

    `shared` are rows (text and label) that two parts have, by names of parts: {"validation+train": 3}. `cut` are rows
    longer than the task's tokens, by part. `remarks` are sentences on all that a user should know.
    """

    classes: int = 0  # 0: a regression, or not noted
    rows: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    original: OriginalSize | None = None  # of a model that was cut before, or whose vocabulary is trimmed


@dataclass(frozen=True)
class LedgerPlace:
    """Where the ledger of a study is, without user, password and options; empty if that was not written."""

    place: str = ""


_TASK: TypeAdapter[TaskReference | None] = TypeAdapter(TaskReference)
_OUTBOX: TypeAdapter[Outbox | None] = TypeAdapter(Outbox)
_DATA = TypeAdapter(DataFacts)
_SPENT = TypeAdapter(Spent)
_ASKED = TypeAdapter(Asked)
_BEGAN = TypeAdapter(Began)
_LATENCY = TypeAdapter(StudyLatency)
_LEDGER = TypeAdapter(LedgerPlace)


def task_file(study: Path) -> StudyFile[TaskReference | None]:
    """Return the file of a study's task reference; reads as None if it was not written."""
    return StudyFile(study / "task.json", _TASK, None)


def data_file(study: Path) -> StudyFile[DataFacts]:
    """Return the file of what is known of a study's rows and model."""
    return StudyFile(study / "data.json", _DATA, DataFacts())


def outbox_file(study: Path) -> StudyFile[Outbox | None]:
    """Return the file of a study's outbox; reads as None if nothing is unpublished or the driver was killed."""
    return StudyFile(study / "outbox.json", _OUTBOX, None)


def spent_file(study: Path) -> StudyFile[Spent]:
    """Return the file of the resources that a study has used."""
    return StudyFile(study / "spent.json", _SPENT, Spent())


def asked_file(study: Path) -> StudyFile[Asked]:
    """Return the file of what a study's last search was asked for."""
    return StudyFile(study / "asked.json", _ASKED, Asked())


def began_file(study: Path) -> StudyFile[Began]:
    """Return the file that says which search a study began with."""
    return StudyFile(study / "began.json", _BEGAN, Began())


def ledger_file(study: Path) -> StudyFile[LedgerPlace]:
    """Return the file that says where a study's ledger is."""
    return StudyFile(study / "ledger.json", _LEDGER, LedgerPlace())


def latency_file(study: Path) -> StudyFile[StudyLatency]:
    """Return the file of a study's latencies."""
    return StudyFile(study / "latency.json", _LATENCY, StudyLatency())
