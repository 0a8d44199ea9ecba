"""The ledger: a study's trials, the parameters of each, and how each ended.

    ask ─► parameters of trial n ─► (the trial runs) ─► TrialRecord ─► tell

The ledger is an Optuna study in its storage, written by one driver. Parameters are drawn in a *mirror*, a
copy of the ledger in memory, and enter the ledger in one transaction with the sampler's notes: a driver that
is killed leaves a whole trial or none. Each draw has a fresh sampler, seeded by the
trial's number: a study that is interrupted, however often, goes on with the draws of one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.study.ledger.curve_observations import CurveObservation, rows_of_record, rows_of_table
from pipeline.study.ledger.mirror import Mirror
from pipeline.study.ledger.outcomes import NEVER_ASKED, check_same, outcome_of
from pipeline.study.ledger.samplers import check_sampler, quiet_optuna, random_start, trial_seed
from pipeline.study.ledger.storage import (
    PARAMS,
    cause_of,
    is_asked,
    open_study,
    shown,
    write_end,
)
from pipeline.study.records import Ask, BadInput, StudySpec, TrialRecord
from pipeline.study.store import SQLITE_FULL

if TYPE_CHECKING:
    from pipeline.study.space import Space
    from pipeline.study.store import Store

LOST_ATTEMPTS = 3  # a trial that has lost this many attempts is given up (design.md)


class LedgerLost(RuntimeError):  # noqa: N818 (a fact about a database, not a fault of the program)
    """The ledger's database does not answer. Nothing is half-done: the same call, later, completes it."""

    @property
    def disk_full(self) -> bool:
        """Whether it is a file on a full disk: waiting does not help."""
        return SQLITE_FULL in str(self)


@dataclass(frozen=True)
class Counts:
    """The number of a study's trials in each state."""

    complete: int
    stopped: int
    failed: int
    running: int

    @property
    def ended(self) -> int:
        """The trials that count towards a study's total."""
        return self.complete + self.stopped + self.failed


@dataclass(frozen=True)
class Found:
    """What earlier drivers left: trial numbers, and the trials still to run."""

    told: tuple[int, ...]  # finished, but their driver died before it wrote that to the ledger
    lost: tuple[int, ...]  # given up after LOST_ATTEMPTS attempts
    unasked: tuple[int, ...]  # without complete parameters: failed, not counted
    owed: tuple[Ask, ...]


def open_ledger(
    url: str, spec: StudySpec, space: Space, *, trials: int, may_write: Callable[[], None] | None = None
) -> Ledger:
    """Open the ledger of a study; create it if the storage does not have it.

    Args:
        url: of the database.
        spec: of the study.
        space: what parameters are drawn from.
        trials: how many the study is to have.
        may_write: called before every write; raises if this driver may not write any more (`Lease.check`).

    Raises:
        BadInput: unknown sampler; a storage that cannot be opened; a study of that name with another spec.
    """
    check_sampler(spec.sampler)
    quiet_optuna()
    storage = open_study(url, spec)
    return Ledger(
        storage, spec, space, start=random_start(trials), url=url, may_write=may_write or (lambda: None)
    )


class Ledger:
    """One study's trials. Only one driver may write a study at a time.

    `ask`, `tell`, `owed`, `counts` and `reconcile` may raise LedgerLost.
    """

    def __init__(
        self,
        storage: BaseStorage,
        spec: StudySpec,
        space: Space,
        *,
        start: int,
        url: str,
        may_write: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._url = url
        self._may_write = may_write
        self._study_id = storage.get_study_id_from_name(spec.name)
        self._spec = spec
        self._space = space
        self._start = start
        self._unasked: tuple[int, ...] = ()
        self._curves: dict[int, tuple[CurveObservation, ...]] = {}  # of trials, for the sampler's view
        # None while ledger and mirror may differ: if a call is interrupted in between, the next one reads again
        self._mirror: Mirror | None = None

    def ask(self) -> Ask:
        """Draw the next trial: the space's starts first, then the sampler's.

        Raises:
            BadInput: another process draws in the same study.
        """
        mirror = self._synced()
        self._mirror = None
        draw = mirror.draw(self._spec, self._space, start=self._start)
        with self._database_errors():
            self._may_write()
            row = self._storage.create_new_trial(self._study_id, draw)
            number = self._storage.get_trial_number_from_id(row)
            if number != draw.number:
                self._storage.set_trial_user_attr(row, PARAMS, None)  # drawn with another trial's seed
                self._storage.set_trial_state_values(row, TrialState.FAIL)
        if number != draw.number:
            raise BadInput(
                f"One command at a time searches a study; while this one drew trial {draw.number} of "
                f"{self._spec.name!r}, another one wrote it. Start this again when that has ended."
            )
        self._mirror = mirror
        return self._as_ask(draw)

    def owed(self) -> tuple[Ask, ...]:
        """Return the trials that were drawn and have not ended; they keep number, parameters and seed."""
        return tuple(self._as_ask(t) for t in self._synced().trials if t.state == TrialState.RUNNING)

    def tell(self, record: TrialRecord) -> None:
        """Write how a trial ended. Writing the same twice changes nothing.

        Raises:
            ValueError: the ledger holds no such trial, gave it other parameters, or has it ended another way.
        """
        mirror = self._synced()
        trial = mirror.trial(record.number)
        if trial is None or trial.user_attrs.get(PARAMS) != record.params:
            raise ValueError(
                f"A record belongs to a trial of the ledger; trial {record.number} of study "
                f"{self._spec.name!r} never had the parameters {record.params}."
            )
        end = outcome_of(record, self._spec)
        if trial.state.is_finished():
            check_same(record.number, end, trial)
            return
        self._mirror = None
        try:
            with self._database_errors():
                self._may_write()
                write_end(self._storage, self._study_id, record.number, end)
        except UpdateFinishedTrialError:  # another process has ended it since we read
            self.tell(record)
            return
        self._curves[record.number] = rows_of_record(record, self._spec)
        mirror.end(record.number, end)
        self._mirror = mirror

    def reconcile(self, store: Store) -> Found:
        """Settle what earlier drivers left, before the first draw of this one.

        Trials with a record are ended; those that lost LOST_ATTEMPTS attempts fail; the others are owed.

        Raises:
            BadInput: the store has records of trials that this ledger never drew.
        """
        unsettled = self._check_store(store)
        study = store.study(self._spec.name)
        if study.exists():
            self._curves |= rows_of_table(study.read_points())
        told: list[int] = []
        lost: list[int] = []
        for ask in self.owed():
            if ask.number in unsettled:
                self.tell(unsettled[ask.number])
                told.append(ask.number)
                continue
            attempts = study.attempts(ask.number).lost()
            if attempts >= LOST_ATTEMPTS:
                reason = f"worker lost {attempts} times"
                record = TrialRecord(ask.number, "failed", reason, ask.params, ask.seed, attempts=attempts)
                study.write_record(record)
                self.tell(record)
                lost.append(ask.number)
        return Found(tuple(told), tuple(lost), self._unasked, self.owed())

    def check_store(self, store: Store) -> None:
        """Refuse a store with another ledger's records: their results would count for this one's trials.

        Raises:
            BadInput: the store has records of trials that this ledger never drew.
        """
        self._check_store(store)

    def _check_store(self, store: Store) -> dict[int, TrialRecord]:
        """Return the records of ended trials that still run in the ledger, by number."""
        given = {t.number: t.user_attrs[PARAMS] for t in self._synced().trials if is_asked(t)}
        name = self._spec.name
        study = store.study(name)
        found = study.finished_numbers()
        strangers = [number for number in found if number not in given]
        asks = {ask.number: ask for ask in self.owed() if ask.number in found}
        records = {number: study.read_record(number) for number in asks}
        strangers += [number for number, ask in asks.items() if records[number].params != ask.params]
        if strangers:
            numbers = ", ".join(map(str, strangers[:5])) + (", …" if len(strangers) > 5 else "")
            raise BadInput(
                f"A store and a ledger belong together; {study.folder} has records of trials that "
                f"{shown(self._url)} never drew (numbers {numbers}). Name the ledger that they were made with "
                f"(--ledger), or put its file back. If it is lost: their front stays as it is, for show, best and "
                f"export; search on under another --name, with --warm-start {name}."
            )
        return records

    def check(self) -> None:
        """Check that this driver may still write.

        Raises:
            LeaseLost: another one has taken over.
        """
        with suppress(LedgerLost), self._database_errors():  # a database that is away is no evidence
            self._may_write()

    def counts(self) -> Counts:
        """Return the number of trials in each state; those without complete parameters are not counted."""
        states = [trial.state for trial in self._synced().trials if is_asked(trial)]
        return Counts(
            complete=states.count(TrialState.COMPLETE),
            stopped=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
        )

    def _as_ask(self, trial: FrozenTrial) -> Ask:
        return Ask(trial.number, dict(trial.user_attrs[PARAMS]), trial_seed(self._spec.seed, trial.number))

    def _synced(self) -> Mirror:
        """Return the mirror, read from the storage if there is none; trials with incomplete parameters fail there."""
        if self._mirror is None:
            with self._database_errors():
                self._mirror = Mirror(self._read(), self._curves)
        return self._mirror

    def _read(self) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        unasked = [t.number for t in trials if not t.state.is_finished() and not is_asked(t)]
        if not unasked:
            return trials
        self._may_write()
        for number in unasked:
            write_end(self._storage, self._study_id, number, NEVER_ASKED)
        self._unasked += tuple(unasked)
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        """Turn the errors of the database's libraries into LedgerLost."""
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            raise LedgerLost(
                f"Every trial is drawn and ended in the ledger; {shown(self._url)} cannot be used "
                f"({cause_of(error, self._url)}). Trials that have ended are in the store: when the ledger answers "
                "again, the same command goes on, and nothing is done twice."
            ) from None  # the chain would show the URL with its password
