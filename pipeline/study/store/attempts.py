"""The attempts at a trial: one folder each, written by one process and only read by later attempts.

trials/NNNNN/attempt-KK/           on a disk
trials/NNNNN/attempt-KK-XXXXXXXX/  in an object store, where another machine may choose the same number
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.study.records import Rung, TrialRecord
from pipeline.study.store.objects import bucket_of, dropped
from pipeline.study.store.recordfile import JSON, load_record, load_scalars, write_and_send

BEGUN = "begun"  # marks the folder of an attempt in an object store, which has no empty folders
INTERRUPTED = "interrupted"  # in an attempt's folder: the user ended it


@dataclass(frozen=True)
class Attempts:
    """The attempts at one trial that have begun and are not removed; `trial` is the trial's folder."""

    trial: Path

    def count(self) -> int:
        """Return the number of the last attempt, from 1; 0 if there is none."""
        names = (folder.name.split("-")[1] for folder in self._folders())
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def lost(self) -> int:
        """Return the number of attempts without a record, except those that the user interrupted."""
        return sum(not (folder / INTERRUPTED).exists() for folder in self._folders())

    def mark_interrupted(self) -> None:
        """Mark the last attempt as interrupted by the user."""
        for folder in self._folders()[-1:]:
            write_and_send(folder / INTERRUPTED, b"")

    def begin(self) -> Path:
        """Create the folder of a new attempt, used by no other process; earlier attempts are fetched in full."""
        bucket = bucket_of(self.trial)
        if bucket is not None:
            bucket.fetch(self.trial)
        number = self.count()
        while True:
            number += 1
            name = f"attempt-{number:02d}"  # sorted by name = by number
            if bucket is not None:  # another machine may choose the same number
                name += f"-{secrets.token_hex(4)}"
            folder = self.trial / name
            try:
                folder.mkdir(parents=True)
            except FileExistsError:  # another process created it first
                continue
            if bucket is not None:
                write_and_send(folder / BEGUN, b"")
            return folder

    def record_at_rung(self) -> TrialRecord | None:
        """Return the record that the running trial wrote at its last rung; None if it has reached none."""
        files = sorted(self.trial.glob(f"attempt-*/{JSON}"))
        return load_record(files[-1].parent) if files else None

    def rungs(self) -> tuple[Rung, ...]:
        """Return the rungs that the trial, ended or running, has reached."""
        if (self.trial / JSON).is_file():
            return load_scalars(self.trial).rungs
        record = self.record_at_rung()
        return () if record is None else record.rungs

    def clear(self) -> None:
        """Remove all attempts: a trial that has ended does not need them."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)
            dropped(folder)

    def _folders(self) -> list[Path]:
        return sorted(self.trial.glob("attempt-*"))
