"""How sure the best penalty is: the fronts that trials of each range of penalties give.

The trials are put in bands of equal number by their penalty; a band's quality is the hypervolume of all its networks
together, curves included, whatever the other settings were (the profile over them). Its standard error comes from
drawing its trials again with replacement (Efron 1979). Bands within one standard error of the best one are as good as
that (the rule of Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3). The penalty counts as
significant where best and worst band differ by more than in 95 % of random assignments of the trials to the bands (a
permutation test, Fisher 1935): of five equal bands chance puts some outside one standard error nearly always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fronts.hyperparameters.trial_fronts import TrialFront
from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import FloatArray

PENALTY = "penalty_strength"
LEAST_TRIALS = 8  # two bands of four
BANDS, LEAST_IN_BAND = 5, 4
RESAMPLES = 200
LEVEL = 0.95  # of random assignments


@dataclass(frozen=True)
class Band:
    """Trials of neighbouring penalties, and the hypervolume of their networks together."""

    low: float
    high: float
    trials: int
    hypervolume: float
    error: float  # standard error


@dataclass(frozen=True)
class Profile:
    """Bands by rising penalty; from `low` to `high` they are as good as the best one."""

    key: str
    bands: tuple[Band, ...]
    low: float
    high: float
    distinguishable: bool  # whether the best and the worst band differ significantly
    trials: int
    trials_needed: (
        int | None
    )  # about, to distinguish best from worst; None: these are enough, or none would be

    @property
    def sentence(self) -> str:
        """Which values are good; or that the trials do not show it, and how many would."""
        if self.distinguishable:
            return (
                f"{self.key} from {self.low:.3g} to {self.high:.3g} is as good as the best (within one standard error, "
                f"{self.trials} trials)."
            )
        more = f"; about {self.trials_needed} trials would be needed" if self.trials_needed else ""
        return f"With {self.trials} trials, values of {self.key} are not distinguishable{more}."


def penalty_profile(
    trials: Sequence[TrialFront], reference: tuple[float, float], *, key: str = PENALTY
) -> Profile | None:
    """Return the profile of one setting; None if it is no number that varies, or for fewer than LEAST_TRIALS."""
    known = [trial for trial in trials if isinstance(trial.params.get(key), int | float)]
    known.sort(key=lambda trial: (float(trial.params[key]), trial.number))
    if len(known) < LEAST_TRIALS or known[0].params[key] == known[-1].params[key]:
        return None
    count = min(BANDS, len(known) // LEAST_IN_BAND)
    bands = tuple(
        _band(list(part), reference, key) for part in np.array_split(np.array(known, dtype=object), count)
    )
    best = max(bands, key=lambda band: band.hypervolume)
    worst = min(bands, key=lambda band: band.hypervolume)
    good = [band for band in bands if band.hypervolume >= best.hypervolume - best.error]
    gap = best.hypervolume - worst.hypervolume
    least = _range_by_chance(known, count, reference)
    differ = gap > least
    needed = math.ceil(len(known) * (least / gap) ** 2) if gap > 0 and not differ else None
    return Profile(
        key=key,
        bands=bands,
        low=min(band.low for band in good),
        high=max(band.high for band in good),
        distinguishable=differ,
        trials=len(known),
        trials_needed=needed,
    )


def _band(trials: Sequence[TrialFront], reference: tuple[float, float], key: str) -> Band:
    penalties = [float(trial.params[key]) for trial in trials]
    fronts = _fronts(trials)
    generator = np.random.default_rng(len(trials))
    draws = generator.integers(0, len(trials), size=(RESAMPLES, len(trials)))
    volumes = [hypervolume(_union([fronts[at] for at in np.unique(draw)]), reference) for draw in draws]
    return Band(
        low=min(penalties),
        high=max(penalties),
        trials=len(trials),
        hypervolume=hypervolume(_union(fronts), reference),
        error=float(np.std(volumes, ddof=1)),
    )


def _range_by_chance(trials: Sequence[TrialFront], count: int, reference: tuple[float, float]) -> float:
    """Return the range of `count` bands' hypervolumes that LEVEL of random assignments of the trials stay below."""
    fronts = _fronts(trials)
    generator = np.random.default_rng(len(trials))
    ranges = []
    for _ in range(RESAMPLES):
        parts = np.array_split(generator.permutation(len(trials)), count)
        volumes = [hypervolume(_union([fronts[at] for at in part]), reference) for part in parts]
        ranges.append(max(volumes) - min(volumes))
    return float(np.quantile(ranges, LEVEL))


def _fronts(trials: Sequence[TrialFront]) -> list[FloatArray]:
    """Return the front of each trial; a point that its own trial dominates is on the front of no union."""
    return [trial.values[front(trial.values)] for trial in trials]


def _union(fronts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(fronts)
