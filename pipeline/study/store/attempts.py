"""The attempts at a trial: one folder each, which one process writes and later attempts only read.

trials/NNNNN/attempt-KK/           on a disk
trials/NNNNN/attempt-KK-XXXXXXXX/  in an object store, where another machine may count to the same number
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.study.records import Rung, TrialRecord
from pipeline.study.store.objects import bucket_of, dropped
from pipeline.study.store.recordfile import JSON, load_record, load_scalars, write_and_send

BEGUN = "begun"  # in the folder of an attempt in an object store, which has no empty folders
INTERRUPTED = "interrupted"  # in an attempt's folder: it was a person who ended it


@dataclass(frozen=True)
class Attempts:
    """The attempts at one trial that have begun and not been cleared away; `trial` is the trial's folder."""

    trial: Path

    def count(self) -> int:
        """The number of the last one, from 1; 0 if there is none."""
        names = (folder.name.split("-")[1] for folder in self._folders())
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def lost(self) -> int:
        """Those that ended without a record, but for those that a person interrupted."""
        return sum(not (folder / INTERRUPTED).exists() for folder in self._folders())

    def mark_interrupted(self) -> None:
        """Says that a person ended the last one."""
        for folder in self._folders()[-1:]:
            write_and_send(folder / INTERRUPTED, b"")

    def begin(self) -> Path:
        """Creates the folder of a new one, which nobody else is given; those of before are there in full."""
        bucket = bucket_of(self.trial)
        if bucket is not None:
            bucket.fetch(self.trial)
        number = self.count()
        while True:
            number += 1
            name = f"attempt-{number:02d}"  # sorted by name = by number
            if bucket is not None:  # another machine may count to the same number
                name += f"-{secrets.token_hex(4)}"
            folder = self.trial / name
            try:
                folder.mkdir(parents=True)
            except FileExistsError:  # another process was quicker
                continue
            if bucket is not None:
                write_and_send(folder / BEGUN, b"")
            return folder

    def shown(self) -> TrialRecord | None:
        """What the running trial has left of itself at its last rung; None if it was at none."""
        left = sorted(self.trial.glob(f"attempt-*/{JSON}"))
        return load_record(left[-1].parent) if left else None

    def rungs(self) -> tuple[Rung, ...]:
        """The rungs that the trial, ended or running, was at."""
        if (self.trial / JSON).is_file():
            return load_scalars(self.trial).rungs
        shown = self.shown()
        return () if shown is None else shown.rungs

    def clear(self) -> None:
        """Removes what a trial that has ended needs no more."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)
            dropped(folder)

    def _folders(self) -> list[Path]:
        return sorted(self.trial.glob("attempt-*"))
