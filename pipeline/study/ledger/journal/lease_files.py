"""Leases as numbered files of a journal's folder: of several processes one makes the next number.

    STUDY.journal               the study's lines, in Optuna's format
    STUDY.leases/00001.json     who held it first; a beat is the file's time of change
    STUDY.leases/00002.json     who held it next, or that it was given back; and how long the journal was then

What a former holder has written behind that length does not count, whatever it believed: a process that stood still
for longer than a lock of the folder lasts cannot check and write in one. Ages are differences of times of files, which
the folder's server gives.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, final

from pipeline.study.ledger.journal.errors import file_errors
from pipeline.study.ledger.storage import require_folder
from pipeline.study.ledger.transaction import NAMES, Row
from pipeline.study.whole_file import write_new

FREE = "free"  # as a token: held by no driver
LENGTH = "journal_bytes"


@final
class LeaseFiles:
    """The leases of the studies of one folder."""

    def __init__(self, folder: Path, locked: Callable[[str], Any]) -> None:
        """Make nothing yet.

        Args:
            folder: of the journals.
            locked: a context in which no other process appends to a study's journal; it gives the journal's length.
        """
        self._folder, self._locked = folder, locked
        self._clock: Path | None = None
        self._known: dict[Path, dict[str, Any]] = {}  # what was read: files do not change

    def open(self) -> None:
        """Make the folder, in one that exists."""
        self._folder.mkdir(exist_ok=True)
        self._clock = self._folder / ".clock"

    def reach(self) -> None:
        """Look whether the folder is there, or can be made."""
        require_folder(self._folder if self._folder.exists() else self._folder.parent)

    def peek(self, study: str) -> Row | None:
        """Return who holds a study."""
        with file_errors():
            found = self._files(study)
            last = self._read(found[-1]) if found else {"token": FREE}
            if last["token"] == FREE:
                return None
            beat = found[-1].stat().st_mtime
            silent_s = self._now() - beat
        return {**{name: last[name] for name in NAMES}, "beat": beat, "silent_s": silent_s}

    def take(self, study: str, row: Row, *, instead_of: Row | None) -> bool:
        """Make the next file, in place of a holder that was seen."""
        with file_errors():
            return self._follow(study, row, after=FREE if instead_of is None else instead_of["token"])

    def beat(self, study: str, token: str) -> None:
        """Touch the file."""
        with suppress(OSError):  # the next beat may do
            last = self._files(study)[-1]
            if self._read(last)["token"] == token:
                os.utime(last)

    def give_back(self, study: str, token: str) -> None:
        """Make a file that says so; without it the process counts as dead."""
        with suppress(OSError):
            self._follow(study, {"token": FREE}, after=token)

    def close(self) -> None:
        """There is nothing to let go of."""

    def ends(self, study: str) -> dict[str, int]:
        """Return, for each token whose lease has ended, how long the journal was then."""
        read = [self._read(path) for path in self._files(study)]
        return {was["token"]: now[LENGTH] for was, now in pairwise(read) if was["token"] != FREE}

    def _follow(self, study: str, row: Row, *, after: str) -> bool:
        """Make the next file if the last one is as it was; return whether it was made."""
        with self._locked(study) as length:
            found = self._files(study)
            token = self._read(found[-1])["token"] if found else FREE
            if token != after:
                return False
            number = int(found[-1].stem) + 1 if found else 1
            return write_new(
                self._folder / f"{study}.leases" / f"{number:05d}.json",
                json.dumps({**row, LENGTH: length}).encode(),
            )

    def _files(self, study: str) -> list[Path]:
        return sorted((self._folder / f"{study}.leases").glob("[0-9]*.json"))

    def _read(self, path: Path) -> dict[str, Any]:
        if path not in self._known:
            self._known[path] = json.loads(path.read_bytes())
        return self._known[path]

    def _now(self) -> float:
        """Return the time by the clock that files have; a reader's own, since it writes nothing."""
        if self._clock is None:
            return time.time()
        self._clock.touch()
        return self._clock.stat().st_mtime
