"""A ledger in a folder: for each study Optuna's journal, and the files of its lease."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, final

from optuna.storages import BaseStorage
from optuna.storages.journal import JournalStorage

from pipeline.study.ledger.journal.lease_files import LeaseFiles
from pipeline.study.ledger.journal.lines import JournalLines, locked
from pipeline.study.ledger.transaction import Check


@final
class Journal:
    """The ledgers of a folder's studies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: JournalLines | None = None  # of the study that is open

    def open(self, study: str) -> JournalStorage:
        """Open a study's journal; make it, and the folder in one that exists."""
        leases = self.leases()
        leases.open()
        self._lines = JournalLines(
            self._path(study), ends=partial(leases.ends, study), holder=partial(leases.peek, study)
        )
        return JournalStorage(self._lines)

    def leases(self) -> LeaseFiles:
        """Return the leases of all studies."""
        return LeaseFiles(self._folder, self._locked)

    def guard(self, storage: BaseStorage, check: Check, token: str) -> None:
        """Call `check` before each line, under the lock."""
        del storage
        self._opened.before, self._opened.token = check, token

    def reopen(self, storage: BaseStorage, study_id: int, number: int) -> BaseStorage:
        """Make the lines that ended a trial into nothing, and read the journal anew."""
        self._opened.forget_end(storage.get_trial_id_from_study_id_trial_number(study_id, number))
        return JournalStorage(self._opened)

    def close(self, storage: BaseStorage) -> None:
        """There is nothing to let go of."""

    @property
    def _opened(self) -> JournalLines:
        if self._lines is None:
            raise RuntimeError("A journal is guarded when it is open: call open first.")
        return self._lines

    def _locked(self, study: str) -> Any:
        return locked(self._path(study))

    def _path(self, study: str) -> Path:
        return self._folder / f"{study}.journal"
