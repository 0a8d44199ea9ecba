"""The costs of single trials of a search: samples of its space, at the times that a probe measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.driver.plan.pricing import Cost, Trials
from pipeline.driver.plan.probe import ProbeResult
from pipeline.study.halving import ETA, LEAST_SEEN, RUNGS
from pipeline.study.ledger import quiet_optuna
from pipeline.study.records import Params
from pipeline.study.space import Space
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.rungs import RUNG_ROWS, RUNG_STEPS
from pipeline.trial.settings import TrialSettings
from pipeline.trial.training.phases import phases, steps_per_epoch

SPACE_DRAWS = 256  # random trials of the space
TRIAL_OVERHEAD_S = 0.2  # of Ray, ledger and store; docs/benchmarks/robustness.md, "added per trial"


def drawn_trials(
    space: Space, inputs: TrialInputs, found: list[ProbeResult], *, stops: bool, seed: int
) -> Trials:
    """Simulate searches of the space's first trials and random ones after them, at the times that probes measured.

    Each search has its own mean of the steps' times, drawn with replacement: that is their spread. At a rung that
    LEAST_SEEN trials have reached before, a trial continues with probability 1 / ETA, as under early stopping.
    """
    starts, draws = space.starts(), random_draws(space, seed)

    def search(generator: np.random.Generator) -> Callable[[int], Cost]:
        one = found[int(generator.integers(len(found)))]
        times = {
            name: mean(generator.choice(steps, size=len(steps)).tolist())
            for name, steps in (("tune", one.tune), ("recover", one.recover))
        }
        known: dict[int, Cost] = {}

        def cost(number: int) -> Cost:
            if number not in known:
                params = (
                    starts[number] if number < len(starts) else draws[int(generator.integers(len(draws)))]
                )
                part = 1.0
                for rung in RUNGS if stops and number >= LEAST_SEEN else ():
                    if generator.random() > 1 / ETA:
                        part = rung
                        break
                known[number] = _cost(params, inputs, one, times, part=part, rungs=len(RUNGS) if stops else 0)
            return known[number]

        return cost

    return search


def _cost(
    params: Params,
    inputs: TrialInputs,
    probed: ProbeResult,
    times: dict[str, float],
    *,
    part: float,
    rungs: int,
) -> Cost:
    """Add up the cost of one trial: steps, curves, evaluations between epochs, rungs.

    `part` is the trained share of it. A step's time is taken to be proportional to its rows.
    """
    rows, validation = len(inputs.data.train), len(inputs.data.validation)
    settings = TrialSettings.of(params)
    stretches = phases(settings, train_rows=rows, seed=0)
    per_epoch = steps_per_epoch(rows, settings.batch_size)
    wider = settings.batch_size / probed.batch_size
    last, seconds = round(part * stretches[-1].end), TRIAL_OVERHEAD_S
    for phase in stretches:
        steps = max(0, min(phase.end, last) - phase.first)
        seconds += steps * wider * times[phase.name]
        if phase.name == "tune" and phase.end <= last:
            seconds += probed.curve
        elif settings.climbs and phase.end <= last:
            seconds += probed.rank + probed.evaluation
        elif settings.chains and phase.end <= last:
            seconds += probed.curve
    seconds += (last // per_epoch) * probed.evaluation
    seconds += rungs * probed.curve * RUNG_STEPS / settings.curve_steps * min(1.0, RUNG_ROWS / validation)
    return Cost(last / per_epoch, seconds)


def random_draws(space: Space, seed: int) -> list[Params]:
    """Draw SPACE_DRAWS trials at random."""
    import optuna

    quiet_optuna()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.sample(study.ask()) for _ in range(SPACE_DRAWS)]


def epochs_of(params: Params, rows: int) -> float:
    """Return the epochs that a trial trains, tuning and recovery together; `rows` is of the training data."""
    settings = TrialSettings.of(params)
    return phases(settings, train_rows=rows, seed=0)[-1].end / steps_per_epoch(rows, settings.batch_size)


def most_rounds(space: Space) -> int:
    """Return the largest number of rounds in a space."""
    rounds = space.keys["rounds"]
    return int(rounds.high if rounds.high is not None else rounds.default)


def mean(values: list[float]) -> float:
    """Return the mean as a plain float."""
    return float(np.mean(values))
