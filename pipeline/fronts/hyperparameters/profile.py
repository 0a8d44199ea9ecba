"""How sharply the data know the best penalty: the fronts that trials of each range of penalties give.

The trials are put in bands of equal number by their penalty; a band's worth is the hypervolume of all its networks
together, curves included, whatever the other settings were (the profile over them). Its standard error is had by
drawing its trials again with replacement (Efron 1979). Bands within one standard error of the best one are as good as
that (the rule of Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3). That the penalty matters
at all is said where best and worst band differ by more than in 95 % of random assignments of the trials to the bands (a
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
ALIKE = 0.95  # of random assignments


@dataclass(frozen=True)
class Band:
    """Trials of neighbouring penalties, and what their networks are worth together."""

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
    told_apart: bool  # whether the best and the worst differ by more than chance would have it
    trials: int
    trials_needed: int | None  # about, to tell best from worst; None: now, or never

    @property
    def sentence(self) -> str:
        """Which values are good, or that the data do not say, and how many trials would."""
        if self.told_apart:
            return (
                f"{self.key} from {self.low:.3g} to {self.high:.3g} is as good as the best (within one standard error, "
                f"{self.trials} trials)."
            )
        more = f"; about {self.trials_needed} would" if self.trials_needed else ""
        return f"{self.trials} trials do not tell values of {self.key} apart{more}."


def penalty_profile(
    trials: Sequence[TrialFront], reference: tuple[float, float], *, key: str = PENALTY
) -> Profile | None:
    """The profile of one setting; None if it is not a number that varies, or there are fewer than LEAST_TRIALS."""
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
    apart = gap > least
    needed = math.ceil(len(known) * (least / gap) ** 2) if gap > 0 and not apart else None
    return Profile(
        key=key,
        bands=bands,
        low=min(band.low for band in good),
        high=max(band.high for band in good),
        told_apart=apart,
        trials=len(known),
        trials_needed=needed,
    )


def _band(trials: Sequence[TrialFront], reference: tuple[float, float], key: str) -> Band:
    penalties = [float(trial.params[key]) for trial in trials]
    fronts = _fronts(trials)
    generator = np.random.default_rng(len(trials))
    draws = generator.integers(0, len(trials), size=(RESAMPLES, len(trials)))
    worths = [hypervolume(_union([fronts[at] for at in np.unique(draw)]), reference) for draw in draws]
    return Band(
        low=min(penalties),
        high=max(penalties),
        trials=len(trials),
        hypervolume=hypervolume(_union(fronts), reference),
        error=float(np.std(worths, ddof=1)),
    )


def _range_by_chance(trials: Sequence[TrialFront], count: int, reference: tuple[float, float]) -> float:
    """What the best and the worst of so many bands differ by, in ALIKE of the assignments that know no penalty."""
    fronts = _fronts(trials)
    generator = np.random.default_rng(len(trials))
    ranges = []
    for _ in range(RESAMPLES):
        parts = np.array_split(generator.permutation(len(trials)), count)
        worths = [hypervolume(_union([fronts[at] for at in part]), reference) for part in parts]
        ranges.append(max(worths) - min(worths))
    return float(np.quantile(ranges, ALIKE))


def _fronts(trials: Sequence[TrialFront]) -> list[FloatArray]:
    """Of each its own front: what can stand on the front of no union is left out once."""
    return [trial.values[front(trial.values)] for trial in trials]


def _union(fronts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(fronts)
