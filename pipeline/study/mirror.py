"""Where parameters are drawn: a ledger's trials in memory.

Optuna's `ask` stores a trial and then its parameters one by one; here nobody sees that. What a sampler notes
about a trial goes with the trial, and what it notes about the study goes with the trial that made it do so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from pipeline.records import StudySpec
from pipeline.study.samplers import make_sampler, trial_seed
from pipeline.study.storage import PARAMS, SAMPLER, End, directions, is_asked, write_end

if TYPE_CHECKING:
    from pipeline.space import Space


class Mirror:
    """A copy of a ledger's trials: the same numbers, parameters, states and sampler's notes."""

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
        given = space.starts()[sum(map(is_asked, trials)) :]
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

    def end(self, number: int, end: End) -> None:
        """Ends a trial."""
        write_end(self._storage, self._study_id, number, end)
