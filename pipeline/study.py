"""The ledger: which trials a study has, what each was given, and how each ended.

    ask ─► parameters of trial n ─► (the trial runs) ─► TrialRecord ─► tell

The ledger is an Optuna study in its storage, written by one driver. Parameters are drawn in a *mirror*, a
copy of the ledger in memory, and enter the ledger in one transaction with all that the sampler noted on the
way: a driver that is killed leaves a whole trial or none. Each draw has a fresh sampler, seeded by the
trial's number: a study that is interrupted, however often, goes on with the draws of one that is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from pipeline.records import OBJECTIVES, BadInput, Params, StudySpec, TrialRecord
from pipeline.samplers import check_sampler, make_sampler, random_start, trial_seed
from pipeline.storage import directions, open_study

if TYPE_CHECKING:
    from pipeline.space import Space
    from pipeline.store import Store

LOST_ATTEMPTS = 3  # a trial whose attempts have vanished this often is given up (design.md)

# User attributes of a trial in Optuna's storage.
PARAMS = "params"  # all its parameters. A trial without them was never wholly asked for, and never counts
SAMPLER = "sampler"  # what the sampler noted about the study when it drew this trial
REASON = "reason"  # why it failed or was stopped


@dataclass(frozen=True)
class Ask:
    """A trial to run."""

    number: int
    params: Params
    seed: int


@dataclass(frozen=True)
class Counts:
    """How the trials of a study stand."""

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

    told: tuple[int, ...]  # finished, but the driver died before it could say so
    lost: tuple[int, ...]  # given up after LOST_ATTEMPTS attempts
    unasked: tuple[int, ...]  # without complete parameters: failed, not counted
    owed: tuple[Ask, ...]


@dataclass(frozen=True)
class _End:
    """How a trial ended, in Optuna's words."""

    state: TrialState
    values: tuple[float, ...] | None
    reason: str


_NEVER_ASKED = _End(TrialState.FAIL, None, "its parameters are incomplete: the driver died in asking")


def open_ledger(url: str, spec: StudySpec, space: Space, *, trials: int) -> Ledger:
    """The ledger of a study of `trials` trials; created if the storage does not hold it.

    Raises:
        BadInput: unknown sampler; a storage that cannot be opened; a study of that name with another spec.
    """
    check_sampler(spec.sampler)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Ledger(open_study(url, spec), spec, space, start=random_start(trials))


class Ledger:
    """One study's trials. Only one driver may write a study at a time."""

    def __init__(self, storage: BaseStorage, spec: StudySpec, space: Space, *, start: int) -> None:
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(spec.name)
        self._spec = spec
        self._space = space
        self._start = start
        self._unasked: tuple[int, ...] = ()
        # None while ledger and mirror may differ: if anything breaks off in between, the next call reads anew
        self._mirror: _Mirror | None = None

    def ask(self) -> Ask:
        """Draws the next trial: the space's starts first, then the sampler's.

        Raises:
            BadInput: another process asks in the same study.
        """
        mirror = self._synced()
        self._mirror = None
        draw = mirror.draw(self._spec, self._space, start=self._start)
        row = self._storage.create_new_trial(self._study_id, draw)
        number = self._storage.get_trial_number_from_id(row)
        if number != draw.number:
            self._storage.set_trial_user_attr(row, PARAMS, None)  # drawn with another trial's seed
            self._storage.set_trial_state_values(row, TrialState.FAIL)
            raise BadInput(
                f"One command at a time searches a study; while this one drew trial {draw.number} of "
                f"{self._spec.name!r}, another one wrote it. Start this again when that has ended."
            )
        self._mirror = mirror
        return self._as_ask(draw)

    def owed(self) -> tuple[Ask, ...]:
        """The trials that were asked for and have not ended; they keep number, parameters and seed."""
        return tuple(self._as_ask(t) for t in self._synced().trials if t.state == TrialState.RUNNING)

    def tell(self, record: TrialRecord) -> None:
        """Writes how a trial ended. Telling the same twice changes nothing.

        Raises:
            ValueError: the ledger holds no such trial, gave it other parameters, or has it ended another way.
        """
        mirror = self._synced()
        trial = mirror.trial(record.number)
        if trial is None or trial.user_attrs.get(PARAMS) != record.params:
            raise ValueError(
                f"A record belongs to the trial that the ledger asked for; trial {record.number} of study "
                f"{self._spec.name!r} was never given {record.params}. Is the store another ledger's?"
            )
        end = _end_of(record)
        if trial.state.is_finished():
            _check_same(record.number, end, trial)
            return
        self._mirror = None
        try:
            _write_end(self._storage, self._study_id, record.number, end)
        except UpdateFinishedTrialError:  # told by another process since we read
            self.tell(record)
            return
        mirror.end(record.number, end)
        self._mirror = mirror

    def reconcile(self, store: Store) -> Found:
        """Settles what earlier drivers left, before the first ask of this one.

        Trials that have a record are told; those that lost LOST_ATTEMPTS attempts fail; the others are owed.
        """
        told: list[int] = []
        lost: list[int] = []
        for ask in self.owed():
            if store.has_record(self._spec.name, ask.number):
                self.tell(store.read_record(self._spec.name, ask.number))
                told.append(ask.number)
                continue
            attempts = len(store.attempts(self._spec.name, ask.number))
            if attempts >= LOST_ATTEMPTS:
                reason = f"worker lost {attempts} times"
                record = TrialRecord(ask.number, "failed", reason, ask.params, ask.seed, attempts=attempts)
                store.write_record(self._spec.name, record)
                self.tell(record)
                lost.append(ask.number)
        return Found(tuple(told), tuple(lost), self._unasked, self.owed())

    def counts(self) -> Counts:
        """How many trials stand how; those never asked are in none of the numbers."""
        states = [trial.state for trial in self._synced().trials if _is_asked(trial)]
        return Counts(
            complete=states.count(TrialState.COMPLETE),
            stopped=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
        )

    def _as_ask(self, trial: FrozenTrial) -> Ask:
        return Ask(trial.number, trial.user_attrs[PARAMS], trial_seed(self._spec.seed, trial.number))

    def _synced(self) -> _Mirror:
        """The mirror; if there is none, from the storage, where trials never wholly asked for fail."""
        if self._mirror is None:
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
            unasked = [t.number for t in trials if not t.state.is_finished() and not _is_asked(t)]
            for number in unasked:
                _write_end(self._storage, self._study_id, number, _NEVER_ASKED)
            if unasked:
                trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
            self._unasked += tuple(unasked)
            self._mirror = _Mirror(trials)
        return self._mirror


class _Mirror:
    """A ledger's trials in memory, where parameters are drawn.

    Optuna's `ask` stores a trial and then its parameters one by one; here nobody sees that.
    """

    def __init__(self, trials: list[FrozenTrial]) -> None:
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=directions())
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        for trial in trials:
            self._storage.create_new_trial(self._study_id, trial)
            for key, value in trial.user_attrs.get(SAMPLER, {}).items():
                self._storage.set_study_system_attr(self._study_id, key, value)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All of them, by number; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def trial(self, number: int) -> FrozenTrial | None:
        """The trial of that number; None if there is none."""
        trials = self.trials
        return trials[number] if 0 <= number < len(trials) else None

    def draw(self, spec: StudySpec, space: Space, *, start: int) -> FrozenTrial:
        """Draws the next trial and keeps it as running: its parameters, and what the sampler noted."""
        trials = self.trials
        known = set(self._storage.get_study_system_attrs(self._study_id))
        self._study.sampler = make_sampler(spec.sampler, seed=trial_seed(spec.seed, len(trials)), start=start)
        given = space.starts()[sum(map(_is_asked, trials)) :]
        if given:
            self._study.enqueue_trial(given[0])
        trial = self._study.ask()
        # NSGA-II gives a trial its generation when this is first read. A start, which has all its parameters
        # given, would never read it, and the starts would never be parents
        _ = trial.relative_params
        params = space.sample(trial)
        row = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        self._storage.set_trial_user_attr(row, PARAMS, params)
        noted = self._storage.get_study_system_attrs(self._study_id)
        if new := {key: value for key, value in noted.items() if key not in known}:
            self._storage.set_trial_user_attr(row, SAMPLER, new)
        return self._storage.get_trial(row)

    def end(self, number: int, end: _End) -> None:
        """Ends a trial."""
        _write_end(self._storage, self._study_id, number, end)


def _is_asked(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get(PARAMS) is not None


def _write_end(storage: BaseStorage, study_id: int, number: int, end: _End) -> None:
    """Ends a trial in a storage. The state comes last: a driver that dies before it has told nothing."""
    row = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    if end.reason:
        storage.set_trial_user_attr(row, REASON, end.reason)
    storage.set_trial_state_values(row, end.state, end.values)


def _end_of(record: TrialRecord) -> _End:
    """What Optuna is told of a record. Only a finite point is ever COMPLETE."""
    if record.state == "stopped":
        return _End(TrialState.PRUNED, None, record.reason)
    if record.state == "failed":
        return _End(TrialState.FAIL, None, record.reason)
    if record.recovered is None:
        return _End(TrialState.FAIL, None, "it ended without a recovered point")
    measurement = record.recovered.measurement
    values = {name: float(getattr(measurement, name)) for name in OBJECTIVES}
    wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        return _End(TrialState.FAIL, None, "; ".join(wrong))
    return _End(TrialState.COMPLETE, tuple(values.values()), record.reason)


def _check_same(number: int, end: _End, trial: FrozenTrial) -> None:
    values = None if trial.values is None else tuple(trial.values)
    was = _End(trial.state, values, trial.user_attrs.get(REASON, ""))
    if was != end:
        raise ValueError(
            f"A trial ends once; trial {number} ended as {was.state.name} {was.values} {was.reason!r} and is "
            f"told as {end.state.name} {end.values} {end.reason!r}."
        )
