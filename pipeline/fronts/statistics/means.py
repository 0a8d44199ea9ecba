"""Means over seeds: intervals, tests of two of them, corrections for many tests, minimum detectable differences.

The unit is the seed: a study run again on another seed differs in draws, initial weights and order of rows, which
is the noise that a claim about a method must exceed. All of it is Student's t. A spread of zero, or of no more than
the rounding of the values, is no spread: such a test has no p-value and is not significant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Values = npt.NDArray[np.float64]

LEVEL = 0.95  # of intervals; a difference is significant where p < 1 - LEVEL
ROUNDING = 1e-12  # of the largest value: a smaller deviation is the rounding of the last bits
POWER = 0.8  # Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", section 2.4


@dataclass(frozen=True)
class Interval:
    """A mean, and where it lies; of a single value neither deviation nor ends are known (NaN)."""

    mean: float
    low: float
    high: float
    deviation: float  # standard deviation of the values, n - 1 in its denominator
    count: int

    def __format__(self, spec: str) -> str:
        """Mean ± half of the interval, where that is known: f"{found:.4f}", f"{found:+.4f}"."""
        mean, reach = format(self.mean, spec), self.high - self.mean
        return f"{mean} ± {format(reach, spec.removeprefix('+'))}" if math.isfinite(reach) else mean


@dataclass(frozen=True)
class Difference:
    """The mean of one sample minus that of another, its interval and the p-value of "they are equal"."""

    mean: float
    low: float
    high: float
    p: float  # two-sided; NaN where the test cannot be made
    error: float  # standard error of the difference
    freedom: float  # degrees of freedom
    paired: bool


def interval(values: npt.ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return mean ± t(1 - α/2; n - 1) s / √n of n >= 0 finite values (Student, Biometrika 6, 1908)."""
    sample = _finite(values)
    count = len(sample)
    if not count:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    mean = float(sample.mean())
    if count == 1:
        return Interval(mean, math.nan, math.nan, math.nan, 1)
    deviation = float(sample.std(ddof=1))
    reach = _quantile(count - 1, 0.5 + level / 2) * deviation / math.sqrt(count)
    return Interval(mean, mean - reach, mean + reach, deviation, count)


def welch(first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = LEVEL) -> Difference:
    """Compare two independent samples [n], [m] that may differ in spread (Welch, Biometrika 34, 1947).

    Degrees of freedom after Satterthwaite: (a + b)² / (a² / (n - 1) + b² / (m - 1)), a = s²/n, b = s²/m.
    """
    one, other = _finite(first), _finite(second)
    mean = _mean(one) - _mean(other)
    if min(len(one), len(other)) < 2:
        return _unknown(mean, paired=False)
    a, b = one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
    if math.sqrt(a + b) <= _rounding(one, other):
        return _unknown(mean, paired=False)
    freedom = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
    return _difference(mean, math.sqrt(a + b), float(freedom), level=level, paired=False)


def paired(first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = LEVEL) -> Difference:
    """Compare two samples [n] whose values are paired, here by their seed, by t of their differences.

    Student, Biometrika 6, 1908, section IX.

    Raises:
        ValueError: the samples differ in length.
    """
    one, other = _finite(first), _finite(second)
    if len(one) != len(other):
        raise ValueError(f"Pairs need samples of one length; given were {len(one)} and {len(other)} values.")
    differences = interval(one - other, level=level)
    if differences.count < 2 or differences.deviation <= _rounding(one, other):
        return _unknown(differences.mean, paired=True)
    error = differences.deviation / math.sqrt(differences.count)
    return _difference(differences.mean, error, differences.count - 1, level=level, paired=True)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number: sorted, (m - i) p(i), never falling, at most 1.

    Holm, Scandinavian Journal of Statistics 6, 1979: the chance of any false positive stays below the level, however
    the tests depend on each other. A NaN stays one and does not count.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    corrected = raw.copy()
    steps = (len(order) - np.arange(len(order))) * raw[order]
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return [float(p) for p in corrected]


def detectable(
    deviation: float,
    seeds: int,
    *,
    paired: bool = False,
    tests: int = 1,
    power: float = POWER,
    level: float = LEVEL,
) -> float:
    """Return the minimum detectable difference: the true one that a test finds with probability `power`.

    Of the non-central t with ν degrees of freedom the non-centrality δ is sought at which t > t(1 - α/2; ν) has
    that probability; the difference is δ times the standard error (Cohen 1988, section 2.4; the other tail's share
    is left out: below 1e-4 at this power).

    Args:
        deviation: standard deviation over seeds, of the values or, if `paired`, of their differences.
        seeds: of each sample, 2 or more.
        paired: ν = n - 1 and error s / √n; else ν = 2 n - 2 and error s √(2 / n).
        tests: their number, by which Holm's first step divides the level.
        power: 0 ... 1.
        level: of the test, 1 - α.
    """
    freedom = seeds - 1 if paired else 2 * seeds - 2
    error = deviation * math.sqrt((1 if paired else 2) / seeds)
    bar = _quantile(freedom, 1 - (1 - level) / (2 * tests))
    return error * float(special.nctdtrinc(freedom, 1 - power, bar))


def _difference(mean: float, error: float, freedom: float, *, level: float, paired: bool) -> Difference:
    reach = _quantile(freedom, 0.5 + level / 2) * error
    p = 2 * float(special.stdtr(freedom, -abs(mean) / error))
    return Difference(mean, mean - reach, mean + reach, p, error, float(freedom), paired)


def _unknown(mean: float, *, paired: bool) -> Difference:
    return Difference(mean, math.nan, math.nan, math.nan, math.nan, math.nan, paired)


def _quantile(freedom: float, probability: float) -> float:
    return float(special.stdtrit(freedom, probability))


def _mean(sample: Values) -> float:
    return float(sample.mean()) if len(sample) else math.nan


def _rounding(one: Values, other: Values) -> float:
    """Return the deviation up to which values of this size, two samples of one or more, are taken for equal."""
    return ROUNDING * float(max(np.abs(one).max(), np.abs(other).max()))


def _finite(values: npt.ArrayLike) -> Values:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError(f"A sample is a row of finite numbers; given was {sample}.")
    return sample
