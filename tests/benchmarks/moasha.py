"""Syne Tune's MO-ASHA driving the trials of search_economy.py: its own scheduler, asked and told.

It draws at random, and at its rungs stops by non-dominated sorting of what a trial is so far: the point that its
threshold gives. Time is in parts of a trial's training, so that trials of different length compare: with its default
reduction factor of 3 rungs are at 1/9 and 3/9. It begins with the space's own starts, as all ways of the benchmark do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform, randint, uniform
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

from pipeline.study.halving import Verdict
from pipeline.study.records import Params, TrialRecord
from pipeline.study.space import Space
from tests.benchmarks.searching import Problem, Searched, Way

LEVELS = 2  # rungs below the end of a trial


class MoAsha(Searched):
    """A search whose trials Syne Tune draws and stops."""

    def __init__(self, way: Way, space: Space, problem: Problem, *, seed: int, eta: float) -> None:
        super().__init__(way, space, problem, seed=seed)
        np.random.seed(seed)
        self.most = round(eta**LEVELS)
        self.scheduler = MOASHA(
            {name: _domain(kind) for name, kind in space.distributions().items()},
            metrics=["metric", "compression"],
            do_minimize=False,
            max_t=self.most,
            grace_period=1,
            reduction_factor=eta,
            random_seed=seed,
        )
        self.trials: list[Trial] = []
        self.last: dict[int, dict[str, Any]] = {}

    @property
    def rungs(self) -> tuple[float, ...]:
        return tuple(round(self.scheduler.reduction_factor**level) / self.most for level in range(LEVELS))

    def draw(self) -> tuple[int, Params]:
        number, starts = len(self.trials), self.space.starts()
        params = starts[number] if number < len(starts) else self._drawn()
        self.trials.append(Trial(number, dict(params), datetime.now()))
        self.scheduler.on_trial_add(self.trials[number])
        return number, params

    def _drawn(self) -> Params:
        suggestion = self.scheduler.suggest()
        if suggestion is None or suggestion.config is None:
            raise RuntimeError("MO-ASHA has no more configurations.")
        return self.space.sample(FixedTrial({key: _plain(v) for key, v in suggestion.config.items()}))

    def judge(self, number: int, params: Params, stage: int) -> Verdict:
        part = self.rungs[stage]
        seen, at = self.problem.end_so_far(number, params, part)
        told = {"training_iteration": round(part * self.most), "metric": seen, "compression": at}
        return Verdict(
            self.scheduler.on_trial_result(self.trials[number], told) == SchedulerDecision.CONTINUE
        )

    def told(self, record: TrialRecord) -> None:
        if record.recovered is not None:
            last = record.recovered.measurement
            told = {
                "training_iteration": self.most,
                "metric": last.metric,
                "compression": last.compression,
            }
            self.scheduler.on_trial_complete(self.trials[record.number], told)


def _domain(kind: object) -> Any:
    if isinstance(kind, CategoricalDistribution):
        return choice(list(kind.choices))
    if isinstance(kind, IntDistribution):
        return randint(kind.low, kind.high)
    if isinstance(kind, FloatDistribution):
        return (loguniform if kind.log else uniform)(kind.low, kind.high)
    raise TypeError(f"No domain for {kind}.")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
