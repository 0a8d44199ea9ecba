"""The samplers of a study, by name, and the seeds of its trials.

A sampler here lives for one draw: all its knowledge comes from the trials it is given, so a study that was
interrupted goes on exactly as one that was not. Facts about Optuna's samplers are those of optuna 5.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

# A sampler of its own seed, whose first `start` trials are random.
Builder = Callable[[int, int], "BaseSampler"]


def quiet_optuna() -> None:
    """Let Optuna log errors only: by default it writes a line per trial to stderr."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed (32 bits) of trial `number`, the same on every machine and in every process."""
    digest = hashlib.sha256(f"{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def random_start(trials: int) -> int:
    """Return how many trials a study of `trials` draws before its sampler learns from them (design.md)."""
    return max(4, min(10, trials // 4))


def make_sampler(name: str, *, seed: int, start: int) -> BaseSampler:
    """Return a fresh sampler that learns once `start` trials have ended.

    Raises:
        BadInput: no sampler has that name.
    """
    check_sampler(name)
    return SAMPLERS[name](seed, start)


def check_sampler(name: str) -> None:
    """Refuse an unknown sampler.

    Raises:
        BadInput: no sampler has that name.
    """
    if name not in SAMPLERS:
        raise BadInput(f"There is no sampler {name!r}. A study draws with one of {', '.join(SAMPLERS)}.")


def _tpe(seed: int, start: int) -> BaseSampler:
    # With two objectives each parameter has a density of its own: conditional ones are learned, too.
    # Running trials count as bad ones, so that trials that run together differ (constant liar).
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=start, seed=seed)


def _nsga2(seed: int, start: int) -> BaseSampler:
    # Generation 0 is the random start. Conditional parameters, which not all parents have, are redrawn at
    # random in every child.
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=start, seed=seed)


def _gp(seed: int, start: int) -> BaseSampler:
    # The Gaussian process covers the parameters that all trials have; TPE learns the conditional ones, which
    # GPSampler would draw at random, with a warning for each.
    from optuna.samplers import GPSampler

    return GPSampler(
        seed=seed,
        independent_sampler=_tpe(seed, start),
        n_startup_trials=start,
        warn_independent_sampling=False,
    )


def _random(seed: int, _start: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Builder] = {"tpe": _tpe, "nsga2": _nsga2, "gp": _gp, "random": _random}
# Samplers whose view has curve points and lacks redundant trials. NSGA-II's parents are trials of the study.
SEES_CURVES = ("tpe",)
