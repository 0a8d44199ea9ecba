"""A study's journal: lines that are only ever added, in the format of Optuna's JournalStorage.

Optuna's own file, with what a ledger needs beside it: a line is checked under the lock and before it is written; lines
that a former holder of the lease wrote too late count as nothing; the rest of a line whose writer was killed is cut
off. Optuna's own classes (and its dashboard) read these files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import BaseJournalBackend, JournalFileOpenLock
from optuna.storages.journal._storage import JournalOperation

from pipeline.study.ledger.journal.errors import file_errors
from pipeline.study.ledger.storage import CommitsLost
from pipeline.study.ledger.transaction import REASON, REDUNDANT, Check, Row
from pipeline.study.whole_file import write_whole

LOCK_S = 30  # a lock as old as this is a dead process's (Optuna's default)
LEASE = "lease"  # key of a line: the token of the lease under which it was written
Line = dict[str, Any]
# what Optuna's replay passes over: an attribute of a trial that is none, by no worker
NOTHING: Line = {
    "op_code": int(JournalOperation.SET_TRIAL_USER_ATTR),
    "worker_id": "",
    "trial_id": -1,
    "user_attr": {},
}


@final
class JournalLines(BaseJournalBackend):
    """The lines of one file."""

    def __init__(
        self, path: Path, *, ends: Callable[[], dict[str, int]], holder: Callable[[], Row | None]
    ) -> None:
        """Open it; make it if it is not there.

        Args:
            path: the file.
            ends: gives how long the file was when each former lease ended.
            holder: gives who holds the lease.

        Raises:
            OSError: it cannot be made.
        """
        self.path, self._ends, self._holder = path, ends, holder
        self.before: Check = lambda _: None  # called before each line
        self.token = ""  # of the lease under which lines are written
        self._starts = [0]  # where each line that was read begins, and the next one
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterator[Line]:
        """Yield the lines from a number on; those that count as nothing do nothing."""
        with file_errors():
            ends, number = self._ends(), min(log_number_from, len(self._starts) - 1)
            for start, line in self._lines(number):
                number += 1
                if number == len(self._starts):
                    self._starts.append(start + len(line))
                if number > log_number_from:
                    yield self._meant(json.loads(line), start, ends)

    def append_logs(self, logs: list[Line]) -> None:
        """Add lines, each with the token of the lease."""
        marked = [log | ({LEASE: self.token} if self.token else {}) for log in logs]
        with file_errors(), locked(self.path) as length:
            if length < self._starts[-1]:
                raise CommitsLost(
                    f"Every trial is drawn and ended in the ledger; {self.path} is shorter than it was: its last lines "
                    "are gone. Trials that have ended are in the store: the same command writes them to the ledger "
                    "again, and goes on."
                )
            self.before(_Line(self, marked))
            with self.path.open("ab") as file:
                file.write(
                    "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in marked).encode()
                )
                file.flush()
                os.fsync(file.fileno())
            if self.token in self._ends():  # it stood still, and the lock was taken from it
                raise StorageInternalError("the lease ended while a line was written")

    def all_lines(self) -> list[Line]:
        """Return all lines, as they are meant."""
        with file_errors():
            ends = self._ends()
            return [self._meant(json.loads(line), start, ends) for start, line in self._lines(0)]

    def forget_end(self, trial_id: int) -> None:
        """Make the lines that ended a trial into nothing, in place: other lines stay where they are."""
        with file_errors(), locked(self.path):
            self.before(_Line(self, []))
            kept = [
                _padded(line) if _ends_trial(json.loads(line), trial_id) else line
                for _, line in self._lines(0)
            ]
            write_whole(self.path, b"".join(kept))

    def holder(self) -> Row | None:
        """Return who holds the lease."""
        return self._holder()

    def _lines(self, number: int) -> Iterator[tuple[int, bytes]]:
        """Yield where each whole line begins, and the line; the last one may be half written."""
        start = self._starts[number]
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield start, line
                start += len(line)

    def _meant(self, line: Line, start: int, ends: dict[str, int]) -> Line:
        """Return a line, or nothing in place of one that was written when its lease had ended."""
        end = ends.get(line.get(LEASE, ""))
        return line if end is None or start < end else NOTHING


@final
class _Line:
    """Lines before they are written, under the lock."""

    def __init__(self, journal: JournalLines, lines: list[Line]) -> None:
        self._journal, self._lines = journal, lines

    def last_number(self, study_id: int) -> int | None:
        made = [
            line
            for line in (*self._journal.all_lines(), *self._lines)
            if line["op_code"] == JournalOperation.CREATE_TRIAL and line["study_id"] == study_id
        ]
        return len(made) - 1 if made else None

    def holder(self, study: str) -> Row | None:
        del study  # the file is one study's, and the lock ends by itself
        return self._journal.holder()


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Keep others from adding lines; yield the length of the file, whose last line is whole."""
    path.touch()
    lock = JournalFileOpenLock(str(path), grace_period=LOCK_S)
    lock.acquire()
    try:
        yield _mended(path)
    finally:
        with suppress(RuntimeError):  # it was taken from us
            lock.release()


def _mended(path: Path) -> int:
    """Cut off the rest of a line whose writer was killed; return the file's length."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("rb+") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
    return whole


def _ends_trial(line: Line, trial_id: int) -> bool:
    ends = line["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES
    says = line["op_code"] == JournalOperation.SET_TRIAL_USER_ATTR and {REASON, REDUNDANT} & {
        *line["user_attr"]
    }
    return line.get("trial_id") == trial_id and bool(ends or says)


def _padded(line: bytes) -> bytes:
    """Return nothing, as long as a line."""
    return json.dumps(NOTHING, separators=(",", ":")).encode().ljust(len(line) - 1) + b"\n"
