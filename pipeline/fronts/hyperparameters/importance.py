"""Which settings decide metric and gain: Optuna's importance (fANOVA; Hutter, Hoos, Leyton-Brown, ICML 2014)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from pipeline.fronts.hyperparameters.trial_fronts import TrialFront
from pipeline.study.records import OBJECTIVES, StudySpec
from pipeline.study.space import parse_space

LEAST_TRIALS = 10  # a forest of fewer is noise
MOST_TRIALS = 200  # of more, evenly chosen ones: the shares stay, the time does not grow
TREES = 32  # half of Optuna's: in a report of many studies they are most of its time


def importances(spec: StudySpec, trials: Sequence[TrialFront]) -> dict[str, dict[str, float]]:
    """Return, for metric and for gain, each setting's share in its variance over trials, the largest first.

    Only settings that every trial has count (not those of one choice of another); the values are those of the recovered
    network, as the sampler had them. Empty for fewer than LEAST_TRIALS trials, or if nothing varies.
    """
    space = parse_space(spec.space_toml)
    known = [(trial, trial.recovered) for trial in trials if trial.recovered is not None]
    if len(known) < LEAST_TRIALS:
        return {}
    known = known[:: -(-len(known) // MOST_TRIALS)]
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    from pipeline.study.ledger import quiet_optuna

    quiet_optuna()
    study = optuna.create_study(directions=["maximize", "maximize"])
    for trial, values in known:
        distributions = {
            name: each
            for name, each in space.distributions(trial.params).items()
            if name in trial.params and each._contains(each.to_internal_repr(trial.params[name]))
        }
        params = {name: trial.params[name] for name in distributions}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, values=list(values))
        )
    names = (OBJECTIVES["metric"].name, spec.second.name)
    found: dict[str, dict[str, float]] = {}
    for at, name in enumerate(names):
        if len({values[at] for _, values in known}) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the evaluator is experimental
            found[name] = get_param_importances(
                study,
                evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=0),
                target=lambda trial, at=at: trial.values[at],  # type: ignore[misc]
            )
    return found
