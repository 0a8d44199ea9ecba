"""The attempts at a trial: one folder each, written by one process and only read by later attempts.

trials/NNNNN/attempt-KK-SSSSSSSS-XXXXXXXX/

SSSSSSSS is the search that the study began with: workers of an earlier search of its name, cut off from their driver,
may still write here (earlier versions left it out). The last part is random: a process that was paused, or another
machine, may choose the same number.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.study.records import Rung, TrialRecord
from pipeline.study.store.objects import bucket_of, drop
from pipeline.study.store.recordfile import JSON, load_record, load_scalars, write_and_send
from pipeline.study.whole_file import make_folder

BEGUN = "begun"  # marks the folder of an attempt in an object store, which has no empty folders
CHECKPOINT = "checkpoint-"  # what the names of checkpoints begin with; they sort by how far on these are
INTERRUPTED = "interrupted"  # in an attempt's folder: the user ended it
DIED = "died"  # in an attempt's folder: its process died, and neither its machine nor its driver had; why, if known
LOST_ATTEMPTS = 3  # a trial whose processes have died this often in a row is given up (design.md)
VAIN_ATTEMPTS = (
    10  # so is one that has got no further in that many: it may be what takes its driver or machine away
)
PREFIX = "attempt-"


@dataclass(frozen=True)
class Attempts:
    """The attempts at one trial that have begun and are not removed.

    Attributes:
        trial: the trial's folder.
        search: which search the study began with; attempts of another one are not seen.
    """

    trial: Path
    search: str = ""

    def count(self) -> int:
        """Return the number of the last attempt, from 1; 0 if there is none."""
        names = (folder.name.split("-")[1] for folder in self.folders())
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def given_up(self) -> str:
        """Return why the trial is given up; empty if it is not.

        It is after LOST_ATTEMPTS attempts in a row whose processes died by themselves, none with a farther checkpoint
        than those before; and after VAIN_ATTEMPTS such attempts whatever ended them. Those that the user interrupted
        do not count; nor, but for the second number, those whose driver or machine was lost.
        """
        vain = self._in_vain()
        died = [folder / DIED for folder in vain if (folder / DIED).exists()]
        if len(died) >= LOST_ATTEMPTS:
            return died[-1].read_text() or f"worker lost {len(died)} times"
        if len(vain) >= VAIN_ATTEMPTS:
            return f"{len(vain)} attempts in a row ended before one had written a new checkpoint"
        return ""

    def _in_vain(self) -> list[Path]:
        """Return the attempts since the last that wrote a farther checkpoint, without those that were interrupted."""
        farthest, vain = "", list[Path]()
        for folder in self.folders():
            reached = max((name for name in _names(folder) if name.startswith(CHECKPOINT)), default="")
            if reached > farthest:
                farthest, vain = reached, []
            elif not (folder / INTERRUPTED).exists():
                vain.append(folder)
        return vain

    def mark_interrupted(self) -> None:
        """Mark the last attempt as interrupted by the user."""
        for folder in self.folders()[-1:]:
            write_and_send(folder / INTERRUPTED, b"")

    def begin(self) -> Path:
        """Create the folder of a new attempt, used by no other process; earlier attempts are fetched in full."""
        bucket = bucket_of(self.trial)
        if bucket is not None:
            bucket.fetch(self.trial)
        # sorted by name = by number
        number, of = f"{self.count() + 1:02d}-", self.search and f"{self.search}-"
        folder = self.trial / f"{PREFIX}{number}{of}{secrets.token_hex(4)}"
        make_folder(folder)
        if bucket is not None:
            write_and_send(folder / BEGUN, b"")
        return folder

    def record_at_rung(self) -> TrialRecord | None:
        """Return the record that the running trial wrote at its last rung; None if it has reached none."""
        reached = [folder for folder in self.folders() if (folder / JSON).is_file()]
        return load_record(reached[-1]) if reached else None

    def rungs(self) -> tuple[Rung, ...]:
        """Return the rungs that the trial, ended or running, has reached."""
        if (self.trial / JSON).is_file():
            return load_scalars(self.trial).rungs
        record = self.record_at_rung()
        return () if record is None else record.rungs

    def folders(self) -> list[Path]:
        """Return the folders, in the order in which the attempts began."""
        return [folder for folder in all_attempts(self.trial) if self._is_ours(folder.name)]

    def superseded(self, own: Path) -> bool:
        """Return whether a later attempt than the one in the folder `own` has begun."""
        bucket = bucket_of(self.trial)
        names = [folder.name for folder in self.folders()]
        if bucket is not None:
            names += [
                name for name in bucket.names(self.trial) if name.startswith(PREFIX) and self._is_ours(name)
            ]
        return max(names, default=own.name).split("-")[1] > own.name.split("-")[1]

    def _is_ours(self, name: str) -> bool:
        parts = name.split("-")
        return (parts[2] if len(parts) == 4 else "") == self.search


def all_attempts(trial: Path) -> list[Path]:
    """Return the folders of all attempts at a trial, those of another search of the study's name, too; sorted."""
    return sorted(trial.glob(f"{PREFIX}*"))


def _names(folder: Path) -> list[str]:
    """Return the names in an attempt's folder; on another machine checkpoints are only in the bucket."""
    bucket = bucket_of(folder)
    return bucket.names(folder) if bucket is not None else [path.name for path in folder.iterdir()]


def mark_died(attempt: Path, why: str = "") -> None:
    """Mark an attempt whose process died by itself: it counts against its trial."""
    write_and_send(attempt / DIED, why.encode())


def remove(attempts: Iterable[Path]) -> None:
    """Remove the folders of attempts: a trial that has ended does not need them."""
    for folder in attempts:
        shutil.rmtree(folder, ignore_errors=True)
        drop(folder)
