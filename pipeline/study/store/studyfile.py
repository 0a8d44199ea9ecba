"""Small files of a study, each a dataclass in JSON, that may be missing.

ROOT/studies/NAME/task.json, outbox.json, spent.json, latency.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from pipeline.study.records import State, TaskReference
from pipeline.study.store.latency import StudyLatency
from pipeline.study.store.objects import dropped
from pipeline.study.store.recordfile import read_json, write_json

T = TypeVar("T")


@dataclass(frozen=True)
class StudyFile(Generic[T]):
    """One such file; `nothing` is what is read where there is none."""

    path: Path
    kind: TypeAdapter[T]
    nothing: T

    def read(self) -> T:
        """What was written last.

        Raises:
            BadInput: the file is damaged, or a newer program wrote it.
        """
        return read_json(self.path, self.kind) if self.path.is_file() else self.nothing

    def write(self, value: T) -> None:
        """Writes it in place of what was there, whole or not at all; of nothing, no file is left."""
        if value == self.nothing:
            self.path.unlink(missing_ok=True)
            dropped(self.path)
        else:
            write_json(self.path, value)


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


_TASK: TypeAdapter[TaskReference | None] = TypeAdapter(TaskReference)
_OUTBOX: TypeAdapter[Outbox | None] = TypeAdapter(Outbox)
_SPENT = TypeAdapter(Spent)
_LATENCY = TypeAdapter(StudyLatency)


def task_file(study: Path) -> StudyFile[TaskReference | None]:
    """How the task of the study in a folder is named; None if nothing was written about it."""
    return StudyFile(study / "task.json", _TASK, None)


def outbox_file(study: Path) -> StudyFile[Outbox | None]:
    """What MLflow is owed of the study in a folder; None: nothing, or its driver was killed."""
    return StudyFile(study / "outbox.json", _OUTBOX, None)


def spent_file(study: Path) -> StudyFile[Spent]:
    """What the study in a folder has used so far."""
    return StudyFile(study / "spent.json", _SPENT, Spent())


def latency_file(study: Path) -> StudyFile[StudyLatency]:
    """What is known of the speed of the study in a folder."""
    return StudyFile(study / "latency.json", _LATENCY, StudyLatency())
