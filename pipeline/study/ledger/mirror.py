"""A ledger's trials in memory, where parameters are drawn.

Optuna's `ask` stores a trial and then its parameters one by one; here that stays in memory. A sampler's notes about a
trial are stored with the trial, and its notes about the study with the trial that caused them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.study.ledger.curve_observations import CurveObservation
from pipeline.study.ledger.samplers import SEES_CURVES, make_sampler, trial_seed
from pipeline.study.ledger.stored import NONCE, PARAMS, SAMPLER, Outcome, directions, is_asked, write_end
from pipeline.study.ledger.transaction import REDUNDANT
from pipeline.study.records import Params, ParamValue, StudySpec

if TYPE_CHECKING:
    from pipeline.study.space import Space


class Mirror:
    """A copy of a ledger's trials: the same numbers, parameters, states and sampler's notes."""

    def __init__(
        self, trials: list[FrozenTrial], curves: Mapping[int, tuple[CurveObservation, ...]] | None = None
    ) -> None:
        """Copy the trials; `curves` are the observations for the sampler's view, by trial, and may grow."""
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=directions())
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._curves = {} if curves is None else curves
        self._rows: dict[int, list[FrozenTrial]] = {}  # the curves that have been made into trials
        for trial in trials:
            self._storage.create_new_trial(self._study_id, trial)
            for key, value in trial.user_attrs.get(SAMPLER, {}).items():
                self._storage.set_study_system_attr(self._study_id, key, value)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def trial(self, number: int) -> FrozenTrial | None:
        """Return the trial of that number; None if there is none."""
        trials = self.trials
        return trials[number] if 0 <= number < len(trials) else None

    def draw(
        self, spec: StudySpec, space: Space, *, start: int, nonce: str = "", params: Params | None = None
    ) -> FrozenTrial:
        """Draw the next trial and keep it as running, with its parameters and the sampler's notes.

        Args:
            spec: of the study.
            space: what is drawn from.
            start: how many trials are random.
            nonce: stored with the trial.
            params: of a trial that was drawn before; None: they are drawn now.
        """
        number = self._draw(spec, space, start=start, params=params)
        row = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self._storage.set_trial_user_attr(row, NONCE, nonce)
        return self._storage.get_trial(row)

    def _draw(self, spec: StudySpec, space: Space, *, start: int, params: Params | None) -> int:
        trials = self.trials
        seed = trial_seed(spec.seed, len(trials))
        given = first_trials(spec, space)[sum(map(is_asked, trials)) :] if params is None else [params]
        if spec.sampler in SEES_CURVES and not given:
            return self._drawn_in_view(spec, space, seed=seed, start=start)
        known = set(self._storage.get_study_system_attrs(self._study_id))
        self._study.sampler = make_sampler(spec.sampler, seed=seed, start=start)
        if given:
            self._study.enqueue_trial(given[0])
        trial = self._study.ask()
        # NSGA-II gives a trial its generation when this is first read. A start, which has all its parameters
        # given, would never read it, and the starts would never be parents
        _ = trial.relative_params
        row = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        self._storage.set_trial_user_attr(row, PARAMS, space.sample(trial))
        noted = self._storage.get_study_system_attrs(self._study_id)
        if new := {key: value for key, value in noted.items() if key not in known}:
            self._storage.set_trial_user_attr(row, SAMPLER, new)
        return trial.number

    def _drawn_in_view(self, spec: StudySpec, space: Space, *, seed: int, start: int) -> int:
        """Draw in a study made for this draw, which has curve points and lacks redundant trials."""
        trials = self.trials
        ended = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
        sampler = make_sampler(spec.sampler, seed=seed, start=0 if ended >= start else len(trials) + 1)
        view = optuna.create_study(
            storage=_View(self._shown(trials), number=len(trials)), directions=directions(), sampler=sampler
        )
        trial = view.ask()
        params = space.sample(trial)
        self._storage.create_new_trial(self._study_id, view.get_trials(deepcopy=False)[-1])
        number = len(trials)
        row = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self._storage.set_trial_user_attr(row, PARAMS, params)
        return number

    def _shown(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the sampler's view: each trial that is not redundant, followed by its curve's observations."""
        shown: list[FrozenTrial] = []
        for trial in trials:
            if not trial.user_attrs.get(REDUNDANT):
                shown.append(trial)
            if trial.number in self._curves and trial.number not in self._rows:
                rows = (_as_trial(trial, row) for row in self._curves[trial.number])
                self._rows[trial.number] = [row for row in rows if row is not None]
            shown += self._rows.get(trial.number, ())
        return shown

    def end(self, number: int, end: Outcome) -> None:
        """End a trial."""
        write_end(self._storage, self._study_id, number, end)


def first_trials(spec: StudySpec, space: Space) -> list[Params]:
    """Return the parameters that are not drawn: those of a warm start, then the space's own, none of them twice."""
    warm = spec.warm_starts
    return [*warm, *(start for start in space.starts() if start not in warm)]


class _View(InMemoryStorage):
    """A storage for one draw: the trials of the sampler's view, none of them copied, and the one that is drawn."""

    def __init__(self, shown: list[FrozenTrial], *, number: int) -> None:
        """Begin with the view; by the `number` of the drawn trial a sampler leaves it out of what it learns from."""
        super().__init__()
        self._shown, self._number = shown, number

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create the drawn trial, with its own number."""
        row = super().create_new_trial(study_id, template_trial)
        super().get_all_trials(study_id, deepcopy=False)[-1].number = self._number
        return row

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Those that are shown, then the drawn one."""
        shown = [trial for trial in self._shown if states is None or trial.state in states]
        return shown + super().get_all_trials(study_id, deepcopy=deepcopy, states=states)


def _as_trial(trial: FrozenTrial, row: CurveObservation) -> FrozenTrial | None:
    """Return a curve point as a trial; None if the space does not contain it."""
    drawn = {key: value for key, value in row.params.items() if key in trial.distributions}
    given = trial.user_attrs[PARAMS]
    if any(given.get(key) != value for key, value in row.params.items() if key not in drawn):
        return None  # a setting in which it differs is fixed in this study
    if not all(_holds(trial.distributions[key], value) for key, value in drawn.items()):
        return None
    params = {**trial.params, **drawn}
    made = create_trial(params=params, distributions=trial.distributions, values=list(row.values))
    made.number = trial.number  # samplers weigh trials by age
    return made


def _holds(bounds: BaseDistribution, value: ParamValue) -> bool:
    """Return whether a number is within the bounds that a study draws from."""
    if not isinstance(bounds, FloatDistribution | IntDistribution) or isinstance(value, str):
        return False
    return bounds.low <= value <= bounds.high
