"""One study's files in a store.

    STUDY/spec.json, task.json, data.json, ledger.json, space.toml, validation.npz, points.arrow, model/
    STUDY/spent.json, outbox.json, latency.json, asked.json, began.json
    STUDY/trials/NNNNN/record.json, record.npz, weights/, attempt-KK-SSSSSSSS-XXXXXXXX/
    STUDY/confirm/

points.arrow is a copy of the records' JSON, made by the driver: it may be out of date or missing, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, final

import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.study.nearest import did_you_mean
from pipeline.study.records import Array, BadInput, StudySpec, TrialRecord
from pipeline.study.store.attempts import Attempts, all_attempts, remove
from pipeline.study.store.checks import check_name
from pipeline.study.store.completion import complete, ended_with_attempts, sweep_parts
from pipeline.study.store.confirmations import CONFIRM, Confirmations
from pipeline.study.store.exports import Exports
from pipeline.study.store.gather import TRIALS, all_written, gather, read_trial, study_table, trial_folder
from pipeline.study.store.int8 import Int8Networks
from pipeline.study.store.location import SPEC, Location
from pipeline.study.store.objects import place_text
from pipeline.study.store.origin import Origin
from pipeline.study.store.recordfile import (
    JSON,
    load_record,
    load_scalars,
    read_json,
    write_and_send,
    write_json,
)
from pipeline.study.store.seen_record import is_of_another, left_by_another, seen_record
from pipeline.study.store.study_table import StudyTable
from pipeline.study.store.studyfile import (
    asked_file,
    began_file,
    data_file,
    latency_file,
    ledger_file,
    outbox_file,
    spent_file,
    task_file,
)
from pipeline.study.store.validation_rows import read_rows, write_rows
from pipeline.study.store.weights import Weights
from pipeline.study.store.written_once import publish_record

SPACE, VALIDATION = "space.toml", "validation.npz"
ABANDONED_S = 60.0  # a part file that is older has no writer any more: those of a study take seconds
_SPEC = TypeAdapter(StudySpec)


@final
class StudyStore:
    """The files of the study `name` in `folder`. Nothing is created before it is written to.

    Attributes:
        origin: what all trials of the study begin with.
        weights: the weights of the study's networks.
        exports: what the study's exported networks measured on test rows.
        int8: what its networks measured in 8 bits.
        confirmations: the points that were trained again on fresh seeds.
        task: how the study's task is named; reads as None if it was not written.
        data: what is known of the study's rows and model; reads as empty if it was not written.
        latency: what is known of the latency of the study's networks.
        ledger: where its ledger is.
        outbox: what was not yet published in MLflow when the study's last driver ended; reads as None if nothing, or
            if that driver was killed.
        spent: what the study has used up to now.
        asked: what its last search was asked for; reads as empty if it was not written.
        began: which search it began with.
    """

    def __init__(self, location: Location, name: str, search: str | None = None) -> None:
        """Make the handle of a study, which need not exist.

        Args:
            location: of its store.
            name: of the study.
            search: which search it began with, for a worker, whose study may have begun anew since; None: as it is now.

        Raises:
            BadInput: no study can have that name.
        """
        check_name(name)
        self._location: Final = location
        self._search: Final = search
        self.name: Final = name
        self.folder: Final = location.studies / name
        self.origin: Final = Origin(self.folder)
        self.weights: Final = Weights(self.folder / TRIALS)
        self.exports: Final = Exports(self.folder)
        self.int8: Final = Int8Networks(self.folder)
        self.confirmations: Final = Confirmations(self.folder / CONFIRM)
        self.task: Final = task_file(self.folder)
        self.data: Final = data_file(self.folder)
        self.latency: Final = latency_file(self.folder)
        self.ledger: Final = ledger_file(self.folder)
        self.outbox: Final = outbox_file(self.folder)
        self.spent: Final = spent_file(self.folder)
        self.asked: Final = asked_file(self.folder)
        self.began: Final = began_file(self.folder)

    def trial_folder(self, number: int) -> Path:
        """Return the folder of a trial's record and attempts."""
        return trial_folder(self.folder, number)

    def attempts(self, number: int) -> Attempts:
        """Return the attempts at a trial."""
        return Attempts(self.trial_folder(number), self.search)

    @property
    def search(self) -> str:
        """Which search the study began with, as this handle knows it; empty if an earlier version began it."""
        return self.began.read().search if self._search is None else self._search

    def has_begun_anew(self) -> bool:
        """Return whether another search of the study's name has begun since this handle was made."""
        self._location.refresh(self.began.path)
        return self.began.read().search != self.search

    def refresh(self, number: int | None = None) -> None:
        """Fetch what other machines have written of the study, or of one trial; a folder has nothing to fetch."""
        self._location.refresh(self.folder if number is None else self.trial_folder(number))

    def exists(self) -> bool:
        """Return whether the study has a spec."""
        self._location.see(self.folder)
        return (self.folder / SPEC).is_file()

    def write_spec(self, spec: StudySpec) -> None:
        """Write the study's spec, and its space beside it for people to read."""
        write_and_send(self.folder / SPACE, spec.space_toml.encode())
        write_json(self.folder / SPEC, spec)

    def read_spec(self) -> StudySpec:
        """Return the study's spec.

        Raises:
            BadInput: there is no such study (the message lists those there are), or its spec cannot be read.
        """
        self._check_exists()
        return read_json(self.folder / SPEC, _SPEC)

    def write_validation(self, ids: list[str], labels: Array) -> None:
        """Write the ids and labels [V] of the rows that all points of the study are measured on."""
        write_rows(self.folder / VALIDATION, ids, labels)

    def read_validation(self) -> tuple[list[str], Array]:
        """Return the ids and labels [V] of the study's validation rows.

        Raises:
            BadInput: there is no such study, or it has not begun.
        """
        self._check_exists()
        path = self.folder / VALIDATION
        if not path.is_file():
            raise BadInput(
                f"{path} is missing. A study that has begun has its validation rows. Start it again."
            )
        return read_rows(path)

    def write_record(self, record: TrialRecord, *, attempts: Sequence[Path] = ()) -> bool:
        """Write how a trial ended, once; return whether it was this record: a trial that has one keeps it.

        Args:
            record: how it ended.
            attempts: the folders of its attempts with its weights; `complete` then moves these.

        Raises:
            OSError: the disk is full or gone.
        """
        names, over = tuple(folder.name for folder in attempts), self.has_begun_anew
        folder = self.trial_folder(record.number)
        return publish_record(folder, record, weights_of=names, search=self.search, is_over=over)

    def complete(self, number: int, attempts: Sequence[Path] | None = None) -> None:
        """Complete an ended trial: move its weights into their place, remove its attempts (None: all).

        Raises:
            BadInput: the record cannot be read.
        """
        complete(self.folder, number, attempts)

    def complete_all(self) -> None:
        """Complete the trials that have ended and whose process died before it had done so; remove old part files."""
        for number in ended_with_attempts(self.folder):
            self.complete(number)
        sweep_parts(self.folder, older_s=ABANDONED_S)

    def read_record(self, number: int) -> TrialRecord:
        """Return a trial's record, with masks and predictions.

        Raises:
            BadInput: there is no such study or record, or it cannot be read.
        """
        if not self.has_record(number):
            self._check_exists()
        return load_record(self.trial_folder(number))

    def put_aside(self, number: int, *, check: Callable[[], None]) -> None:
        """Rename a damaged record, since its trial is run again; `check` raises if we may not."""
        seen = seen_record(self.trial_folder(number))
        check()  # what was seen before it is no later driver's
        seen.put_aside()

    def forget_attempts(self, number: int, *, check: Callable[[], None]) -> None:
        """Remove the attempts of a trial that is drawn anew, of other parameters; `check` raises if we may not."""
        begun = all_attempts(self.trial_folder(number))
        check()  # what was seen before it is no later driver's
        remove(begun)

    def forget_others(self, numbers: Iterable[int]) -> None:
        """Remove the records, among those of `numbers`, that another search of the study's name has written."""
        for number in numbers:
            if (left := left_by_another(self.trial_folder(number), self.search)) is not None:
                left.remove_all()

    def read_provenance(self, number: int) -> dict[str, str]:
        """Return where a trial's numbers come from: versions, machine, resources used.

        Raises:
            BadInput: there is no such record, or it cannot be read.
        """
        return load_scalars(self.trial_folder(number)).provenance

    def has_record(self, number: int) -> bool:
        """Return whether a trial of this search has ended."""
        folder = self.trial_folder(number)
        return (folder / JSON).is_file() and not is_of_another(folder, self.search)

    def finished_numbers(self) -> list[int]:
        """Return the numbers of the trials that have ended, sorted."""
        return sorted(all_written(self.folder))

    def ended_in_order(self) -> list[int]:
        """Return the numbers of the trials that have ended, in the order in which their records were written."""
        written = all_written(self.folder)
        return sorted(written, key=lambda number: (written[number], number))

    def read_trial(self, number: int) -> tuple[TrialRecord, pa.Table]:
        """Return a trial's record, and its rows with the columns of `read_table`, from one reading.

        Raises:
            BadInput: there is no such record, or it cannot be read.
        """
        return read_trial(self.folder, number)

    def gather(self, rows: Sequence[pa.Table] = ()) -> None:
        """Bring the study's points.arrow up to date with its records. Only the driver does this.

        Records whose `rows` are given, as `read_trial` returned them, are not read again.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        self._check_begun()
        gather(self.folder, rows)

    def read_table(self) -> pa.Table:
        """Return all points of all trials that have ended, gathered or not: the columns of `table.COLUMNS`.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        self._check_begun()
        return study_table(self.folder)

    def read_points(self) -> StudyTable:
        """Return the study's trials and their networks.

        Raises:
            BadInput: there is no such study, or a record cannot be read.
        """
        return StudyTable(self.read_spec(), self.read_table())

    def _check_begun(self) -> None:
        """Refuse a study that is not there; its spec may come after its first records."""
        if not self.exists() and not self.folder.is_dir():
            self._check_exists()

    def _check_exists(self) -> None:
        if not self.exists():
            known = self._location.list_studies()
            raise BadInput(
                f"{place_text(self._location.place)} has no study {self.name!r}.{did_you_mean(self.name, known)} "
                f"Its studies: {', '.join(known) or 'none'}."
            )
