"""NePS's PriMO (arXiv 2511.08371) driving the trials of search_economy.py: its own optimizer, asked and told.

It begins with its MO-ASHA (factor 3: rungs at 1/9 and 1/3 of a trial), then it is Bayesian optimization of randomly
weighted objectives, led by a prior: the space's defaults, with its usual confidence, for both objectives. At a rung a
trial is what it is so far: the point that its threshold gives. A trial that is promoted goes on where it was; one at a
time. A dependency of this benchmark alone: pip install neural-pipeline-search "botorch<0.13".
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from neps import AskAndTell
from neps.optimizers.algorithms import primo
from neps.space import HPOCategorical, HPOFloat, HPOInteger, SearchSpace
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from pipeline.study.records import Params
from pipeline.study.space import Space
from tests.benchmarks.searching import Outcome, Problem, Searched, Way

ETA, MOST = 3, 9  # parts of a trial
PART, OBJECTIVES, CONFIDENCE = "part", ("metric", "compression"), 0.75


class Primo(Searched):
    """A search whose trials NePS draws and promotes."""

    def __init__(self, way: Way, space: Space, problem: Problem, *, seed: int) -> None:
        super().__init__(way, space, problem, seed=seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        kinds = space.distributions()
        defaults = {name: value for name, value in space.defaults().items() if name in kinds}
        elements = {name: _domain(kind) for name, kind in kinds.items()}
        self.asked = AskAndTell(
            primo(
                SearchSpace({**elements, PART: HPOInteger(1, MOST, is_fidelity=True)}),
                eta=ETA,
                prior_centers=dict.fromkeys(OBJECTIVES, defaults),
                prior_confidences={name: dict.fromkeys(defaults, CONFIDENCE) for name in OBJECTIVES},
            )
        )
        self.numbers: dict[str, tuple[int, Params]] = {}  # of its configurations, without their rung
        self.trained: dict[int, float] = {}

    def run(self, *, epochs: float) -> Outcome:
        """Asks and tells until so many epochs have been trained, or there are no more trials."""
        while self.epochs < epochs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                asked = self.asked.ask()
            key = asked.id.partition("_")[0]
            if key not in self.numbers:
                if len(self.numbers) == self.problem.trials:
                    break
                params = {name: _plain(v) for name, v in asked.config.items() if name != PART}
                self.numbers[key] = (len(self.numbers), self.space.sample(FixedTrial(params)))
            number, params = self.numbers[key]
            part = int(asked.config[PART]) / MOST
            total = self.problem.epochs(number, params)
            self.epochs += part * total - self.trained.get(number, 0.0)
            self.trained[number] = part * total
            if part == 1.0:
                record, truth = self.problem.record(number, params)
                end = record.points[-1].measurement
                seen = (end.metric, end.compression)
                self.curves[number] = ()
                self.records.append(record)
                self._added(record, truth)
            else:
                seen = self.problem.end_so_far(number, params, part)
                self.outcome.stopped = len(self.numbers) - self.outcome.trials
            self.asked.tell(asked, {"objective_to_minimize": [-seen[0], -seen[1]]})
        return self.outcome


def _domain(kind: object) -> Any:
    if isinstance(kind, CategoricalDistribution):
        return HPOCategorical(list(kind.choices))
    if isinstance(kind, IntDistribution):
        return HPOInteger(kind.low, kind.high)
    if isinstance(kind, FloatDistribution):
        return HPOFloat(kind.low, kind.high, log=kind.log)
    raise TypeError(f"No domain for {kind}.")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
