"""The ledger: a study's trials, the parameters of each, and how each ended.

    ask ─► parameters of trial n ─► (the trial runs) ─► TrialRecord ─► tell

The ledger is an Optuna study in its storage, written by one driver. Parameters are drawn in a *mirror*, a
copy of the ledger in memory, and enter the ledger in one transaction with the sampler's notes: a driver that
is killed leaves a whole trial or none. Each draw has a fresh sampler, seeded by the
trial's number: a study that is interrupted, however often, goes on with the draws of one that is not.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from pipeline.study.ledger.backends import Backend, backend_of
from pipeline.study.ledger.curve_observations import CurveObservation, rows_of_record, rows_of_table
from pipeline.study.ledger.earlier import Counts, Found, InStore, are_of, in_store, refuse_strangers
from pipeline.study.ledger.guarded import GuardedWrites
from pipeline.study.ledger.mirror import Mirror
from pipeline.study.ledger.outcomes import NEVER_ASKED, check_same, outcome_of
from pipeline.study.ledger.samplers import check_sampler, quiet_optuna, random_start, trial_seed
from pipeline.study.ledger.storage import CommitsLost, LedgerLost, database_errors, shown
from pipeline.study.ledger.stored import NONCE, PARAMS, freeze, is_asked, open_study, write_end
from pipeline.study.ledger.transaction import Transaction
from pipeline.study.records import Ask, BadInput, Params, StudySpec, TrialRecord

if TYPE_CHECKING:
    from pipeline.study.ledger.lease import Lease
    from pipeline.study.space import Space
    from pipeline.study.store import Store, StudyStore

DRAWS = 5  # of one ask, when another driver's last trials arrive late


class _NumberTaken(Exception):  # noqa: N818 (what happened)
    """A trial would get another number than it was drawn for: nothing is written."""


def open_ledger(
    url: str, spec: StudySpec, space: Space, *, trials: int, lease: Lease | None = None
) -> Ledger:
    """Open the ledger of a study; create it if the storage does not have it.

    Args:
        url: of the database.
        spec: of the study.
        space: what parameters are drawn from.
        trials: how many the study is to have.
        lease: of the study, checked in each write's transaction; None for one that only reads.

    Raises:
        BadInput: unknown sampler; a storage that cannot be opened; a study of that name with another spec.
        LedgerLost: the database stopped answering.
    """
    check_sampler(spec.sampler)
    quiet_optuna()
    backend = backend_of(url)
    write = GuardedWrites(url, lease)
    storage = open_study(backend, spec, write, url=url)
    with database_errors(url):
        return Ledger(backend, storage, spec, space, write, start=random_start(trials))


class Ledger:
    """One study's trials; one driver at a time may write them.

    `ask`, `tell`, `owed`, `counts` and `reconcile` may raise LedgerLost.
    """

    def __init__(
        self,
        backend: Backend,
        storage: BaseStorage,
        spec: StudySpec,
        space: Space,
        write: GuardedWrites,
        *,
        start: int,
    ) -> None:
        self._backend, self._storage, self._write = backend, storage, write
        self._url, self._lease = write.url, write.lease
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
        # late writes of the driver before us are seen, and drawn after; without a lease there may be others
        for _ in range(1 if self._lease is None else DRAWS):
            if (ask := self._ask()) is not None:
                return ask
        raise BadInput(
            f"Another command wrote a trial of {self._spec.name!r} while this one drew it. One "
            "command at a time searches a study. Start this again when that has ended."
        )

    def _ask(self, params: Params | None = None) -> Ask | None:
        """Draw the next trial, or write one that was drawn with `params`; None if another process was quicker."""
        mirror, nonce = self._synced(), secrets.token_hex(8)
        self._mirror = None
        draw = mirror.draw(self._spec, self._space, start=self._start, nonce=nonce, params=params)

        def check_number(transaction: Transaction) -> None:
            # Optuna writes again what was not answered: that must not become a second trial
            if transaction.last_number(self._study_id) != draw.number:
                raise _NumberTaken

        try:
            with self._write(check_number):
                self._storage.create_new_trial(self._study_id, draw)
        except _NumberTaken:
            written = self._synced().trial(draw.number)
            ours = written is not None and written.user_attrs.get(NONCE) == nonce
            return self._as_ask(draw) if ours else None
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
            with self._write():
                write_end(self._storage, self._study_id, record.number, end)
        except UpdateFinishedTrialError:  # another process has ended it since we read
            self.tell(record)
            return
        except KeyError:
            raise CommitsLost(
                f"Every trial is drawn and ended in the ledger; {shown(self._url)} has lost trial {record.number}, "
                "which it had: its last commits are gone. Trials that have ended are in the store: the same command "
                "writes them to the ledger again, and goes on."
            ) from None
        self._curves[record.number] = rows_of_record(record, self._spec)
        mirror.end(record.number, end)
        self._mirror = mirror

    def reconcile(self, store: Store) -> Found:
        """Settle what earlier drivers left, before the first draw of this one.

        Trials with a record are ended; those that are given up (`Attempts.given_up`) fail; the others are owed. Ended
        trials without a record are owed again, under their number and seed. Trials that the database has lost are
        written again from their records.

        Raises:
            BadInput: the store has records of trials that this ledger never drew.
        """
        study = store.study(self._spec.name)
        found = self._check_store(study)
        study.forget_others(found.others)
        restored = self._restore(study, found.unknown)
        records = found.records | {record.number: record for record in found.unknown}
        for number in found.damaged:
            study.put_aside(number, check=self.check)
        again = self._reopen(study)
        finished, lost = list[int](), list[int]()
        if study.exists():
            self._curves |= rows_of_table(study.read_points())
            self._mirror = None
        for ask in self.owed():
            if ask.number in records:
                self.tell(records[ask.number])
                finished.append(ask.number)
                continue
            attempts = study.attempts(ask.number)
            if reason := attempts.given_up():
                count = attempts.count()
                record = TrialRecord(ask.number, "failed", reason, ask.params, ask.seed, attempts=count)
                study.write_record(record)
                self.tell(record)
                lost.append(ask.number)
        return Found(tuple(finished), tuple(lost), self._unasked, self.owed(), again, restored)

    def freeze(self, spec: StudySpec) -> None:
        """Write the spec whole: the study's dense network is trained."""
        with self._write():
            freeze(self._storage, self._study_id, spec)
        self._spec = spec

    def check_store(self, store: Store) -> None:
        """Refuse a store with another ledger's records: they would count for this one's trials.

        Raises:
            BadInput: the store has records of trials that this ledger never drew.
        """
        self._check_store(store.study(self._spec.name))

    def _check_store(self, study: StudyStore) -> InStore:
        """Return what the store has of trials that this ledger has not ended."""
        trials = self._synced().trials
        given = {t.number: t.user_attrs[PARAMS] for t in trials if is_asked(t)}
        owed = {t.number for t in trials if t.state == TrialState.RUNNING}
        found = in_store(study, given=given, owed=owed)
        if not are_of(self._spec, found.unknown, after=max(given, default=-1)):
            refuse_strangers(study, self._url, [record.number for record in found.unknown])
        strange = [number for number, record in found.records.items() if record.params != given[number]]
        refuse_strangers(study, self._url, strange)
        return found

    def _restore(self, study: StudyStore, records: list[TrialRecord]) -> tuple[int, ...]:
        """Write trials again that the database has lost; those without a record are drawn anew."""
        known = {record.number: record for record in records}
        while known and (number := len(self._synced().trials)) <= max(known):
            record = known.get(number)
            ask = self._ask() if record is None else self._ask(record.params)
            if ask is None or (record is not None and ask.params != record.params):
                refuse_strangers(study, self._url, [number])
            if record is None:
                study.forget_attempts(number, check=self.check)  # of other parameters
        return tuple(known)

    def _reopen(self, study: StudyStore) -> tuple[int, ...]:
        """Make ended trials owed again whose records are gone, as after a power failure of the store's machine."""
        there = {*study.finished_numbers()}
        ended = [t.number for t in self._synced().trials if is_asked(t) and t.state.is_finished()]
        gone = tuple(number for number in ended if number not in there)
        for number in gone:
            self._mirror = None
            with self._write():
                self._storage = self._backend.reopen(self._storage, self._study_id, number)
        return gone

    def check(self) -> None:
        """Check that this driver may still write.

        Raises:
            LeaseLost: another one has taken over.
        """
        with suppress(LedgerLost):  # a database that is away is no evidence
            if self._lease is not None:
                self._lease.check()

    def counts(self) -> Counts:
        """Return the number of trials in each state; those without complete parameters are not counted."""
        return Counts.of([trial.state for trial in self._synced().trials if is_asked(trial)])

    def close(self) -> None:
        """Let go of what is open."""
        self._backend.close(self._storage)

    def _as_ask(self, trial: FrozenTrial) -> Ask:
        return Ask(trial.number, dict(trial.user_attrs[PARAMS]), trial_seed(self._spec.seed, trial.number))

    def _synced(self) -> Mirror:
        """Return the mirror, read from the storage if there is none; trials with incomplete parameters fail there."""
        if self._mirror is None:
            with database_errors(self._url):
                self._mirror = Mirror(self._read(), self._curves)
        return self._mirror

    def _read(self) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        unasked = [t.number for t in trials if not t.state.is_finished() and not is_asked(t)]
        if not unasked:
            return trials
        with self._write():
            for number in unasked:
                write_end(self._storage, self._study_id, number, NEVER_ASKED)
        self._unasked += tuple(unasked)
        return self._storage.get_all_trials(self._study_id, deepcopy=False)
