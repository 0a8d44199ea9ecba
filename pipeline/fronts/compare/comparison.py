"""Compare groups of studies: the quality of each over its seeds, and which differences are significant.

The unit is the seed. The hypervolume is tested first; of pairs that differ in it, the metric at 25, 50 and 75 % of
gain shows where. The chance of any false positive in a comparison is 5 % at most: pairs of groups are corrected by
Holm's method, and the metrics at gains, corrected together, are tested only for pairs that differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from pipeline.fronts.compare.groups import Group
from pipeline.fronts.confirmed import Confirmed
from pipeline.fronts.statistics import (
    LEVEL,
    Difference,
    Interval,
    detectable,
    holm,
    interval,
    metric_at,
    paired,
    row_bootstrap,
    welch,
)
from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import BadInput, FloatArray

GAINS = (0.25, 0.5, 0.75)
LEAST_SEEDS = 3  # below, a spread is a guess, and nothing is tested
SEED_COUNTS = (3, 5, 10)  # for which the minimum detectable difference is reported
QUANTITIES = ("hypervolume", *(f"metric at {100 * gain:.0f} %" for gain in GAINS))

Rows = Literal["validation", "test"]


@dataclass(frozen=True)
class Quality:
    """The quality of a group's fronts, over its seeds."""

    label: str
    studies: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: tuple[int, ...]
    hypervolume: Interval
    hypervolume_normalised: Interval  # divided by each study's own dense - constant
    metric_at: tuple[Interval, ...]  # at GAINS
    # at GAINS: how many of its fronts end before, and count as the constant prediction
    without: tuple[int, ...]


@dataclass(frozen=True)
class Test:
    """One quantity of two groups: `first` minus `second`."""

    first: str
    second: str
    quantity: str
    seeds: tuple[int, int]  # how many each has
    difference: Difference
    corrected: float  # p after Holm's correction; NaN where nothing was tested
    significant: bool
    detectable: tuple[
        float, ...
    ]  # minimum detectable difference at 80 % power, with SEED_COUNTS seeds a group
    rows: Interval | None  # the same networks on resampled test rows: the noise within networks alone


@dataclass(frozen=True)
class Panel:
    """A comparison on one set of rows."""

    rows: Rows
    qualities: tuple[Quality, ...]
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Comparison:
    """Groups of studies of one task. `test` is there if every study has confirmed points on the same test rows."""

    groups: tuple[Group, ...]
    validation: Panel
    test: Panel | None


def compare(groups: Sequence[Group]) -> Comparison:
    """Compare groups of studies of one task.

    Raises:
        BadInput: there is no finished trial in one of them.
    """
    for group in groups:
        for entry in group.entries:
            if not entry.front.trials:
                raise BadInput(
                    f"{entry.spec.name} has no finished trial yet, and so no front to compare. Run its search, or "
                    "leave it out."
                )
    values = {entry.spec.name: entry.values for group in groups for entry in group.entries}
    validation = _panel("validation", groups, values)
    return Comparison(tuple(groups), validation, _test_panel(groups))


def _panel(rows: Rows, groups: Sequence[Group], values: dict[str, FloatArray]) -> Panel:
    samples = [_samples(group, values) for group in groups]
    qualities = tuple(_quality(group, sample, values) for group, sample in zip(groups, samples, strict=True))
    return Panel(rows, qualities, _tests(groups, samples))


def _samples(group: Group, values: dict[str, FloatArray]) -> FloatArray:
    """Return [quantities, seeds]: the hypervolume, then the metric at each of GAINS."""
    columns = []
    for entry in group.entries:
        own, constant = values[entry.spec.name], entry.spec.anchors.constant
        volume = hypervolume(own, entry.spec.reference_point)
        columns.append([volume, *metric_at(own, GAINS, beyond=constant)])
    return np.array(columns, dtype=np.float64).T


def _quality(group: Group, sample: FloatArray, values: dict[str, FloatArray]) -> Quality:
    spans = np.array([entry.spec.anchors.dense - entry.spec.anchors.constant for entry in group.entries])
    # a dense network no better than a constant prediction gives no scale
    normalised = np.divide(sample[0], spans, out=np.full(len(spans), np.nan), where=spans > 0)
    ends = [values[entry.spec.name][:, 1].max(initial=0.0) for entry in group.entries]
    return Quality(
        label=group.label,
        studies=tuple(entry.spec.name for entry in group.entries),
        seeds=group.seeds,
        trials=tuple(entry.front.trials for entry in group.entries),
        hypervolume=interval(sample[0]),
        hypervolume_normalised=interval(normalised[np.isfinite(normalised)]),
        metric_at=tuple(interval(row) for row in sample[1:]),
        without=tuple(sum(bool(end < gain) for end in ends) for gain in GAINS),
    )


def _tests(groups: Sequence[Group], samples: Sequence[FloatArray]) -> tuple[Test, ...]:
    """Test all pairs: the hypervolume first, then the metrics at gains of those that differ in it."""
    pairs = list(combinations(range(len(groups)), 2))
    volumes = [_test(groups, samples, pair, quantity=0, tests=len(pairs)) for pair in pairs]
    volumes = _corrected(volumes)
    differ = [pair for pair, test in zip(pairs, volumes, strict=True) if test.significant]
    count = len(differ) * len(GAINS)
    later = [
        _test(groups, samples, pair, quantity=1 + at, tests=max(count, 1))
        for pair in pairs
        for at in range(len(GAINS))
    ]
    tested = [pair in differ for pair in pairs for _ in GAINS]
    corrected = iter(_corrected([test for test, keep in zip(later, tested, strict=True) if keep]))
    return (*volumes, *(next(corrected) if keep else test for test, keep in zip(later, tested, strict=True)))


def _test(
    groups: Sequence[Group],
    samples: Sequence[FloatArray],
    pair: tuple[int, int],
    *,
    quantity: int,
    tests: int,
) -> Test:
    first, second = (groups[at] for at in pair)
    one, other = (samples[at][quantity] for at in pair)
    together = first.seeds == second.seeds
    difference = paired(one, other) if together else welch(one, other)
    deviation = math.nan
    if min(len(one), len(other)) > 1:
        spread = np.std(one - other, ddof=1) ** 2 if together else (one.var(ddof=1) + other.var(ddof=1)) / 2
        deviation = math.sqrt(spread)
    least = tuple(detectable(deviation, seeds, paired=together, tests=tests) for seeds in SEED_COUNTS)
    return Test(
        first.label,
        second.label,
        QUANTITIES[quantity],
        (len(one), len(other)),
        difference,
        corrected=math.nan,
        significant=False,
        detectable=least,
        rows=None,
    )


def _corrected(tests: list[Test]) -> list[Test]:
    """Return tests with Holm's correction; with fewer than LEAST_SEEDS seeds none is significant."""
    p_values = [test.difference.p if min(test.seeds) >= LEAST_SEEDS else math.nan for test in tests]
    return [
        replace(test, corrected=p, significant=p < 1 - LEVEL)
        for test, p in zip(tests, holm(p_values), strict=True)
    ]


def _test_panel(groups: Sequence[Group]) -> Panel | None:
    """Compare the confirmed points on test rows; None if a study has none, or other test rows."""
    found = {
        entry.spec.name: entry.confirmed
        for group in groups
        for entry in group.entries
        if entry.confirmed is not None and any(point.metric.count for point in entry.confirmed.points)
    }
    entries = [entry for group in groups for entry in group.entries]
    if len(found) < len(entries):
        return None
    labels = found[entries[0].spec.name].labels
    if any(not np.array_equal(each.labels, labels) for each in found.values()):
        return None
    found = {name: _useful(each) for name, each in found.items()}
    panel = _panel("test", groups, {name: each.values for name, each in found.items()})
    rows = _over_rows(groups, found)
    return replace(panel, tests=tuple(_beside(test, rows) for test in panel.tests))


def _useful(confirmed: Confirmed) -> Confirmed:
    """Leave out points whose trainings all failed, and points at or below the constant baseline."""
    constant = confirmed.spec.anchors.constant
    return replace(confirmed, points=tuple(p for p in confirmed.points if p.metric.mean > constant))


def _beside(test: Test, rows: dict[tuple[str, str, str], Interval]) -> Test:
    """Return a test with its bootstrap interval; the share of the constant prediction is not resampled."""
    found = rows.get((test.first, test.second, test.quantity))
    if found is None:
        return test
    shift = test.difference.mean - found.mean
    moved = replace(found, mean=found.mean + shift, low=found.low + shift, high=found.high + shift)
    return replace(test, rows=moved)


def _over_rows(groups: Sequence[Group], found: dict[str, Confirmed]) -> dict[tuple[str, str, str], Interval]:
    """Return every quantity's difference on resampled test rows, the networks given.

    With the front's order given, hypervolume and interpolated metrics are sums of the networks' metrics, whatever
    the rows: their weights are what each quantity gives for a metric of 1 in one network and 0 in the others.
    """
    weights, predictions = [], []
    for at, group in enumerate(groups):
        for entry in group.entries:
            confirmed = found[entry.spec.name]
            of_points = _weights(confirmed.values) / len(group.entries)  # [quantities, points]
            for place, point in enumerate(confirmed.points):
                for each in point.confirmations:
                    column = np.zeros((len(groups), len(QUANTITIES)))
                    column[at] = of_points[:, place] / len(point.confirmations)
                    weights.append(column)
                    predictions.append(each.predictions)
    pairs = list(combinations(range(len(groups)), 2))
    if not pairs or not predictions:
        return {}
    stacked = np.stack(weights, axis=-1)  # [groups, quantities, networks]
    contrasts = np.concatenate([stacked[one] - stacked[other] for one, other in pairs])
    name, first = groups[0].spec.metric_name, next(iter(found.values()))
    classes = max(each.classes for each in found.values())
    intervals = iter(row_bootstrap(name, first.labels, np.stack(predictions), contrasts, classes=classes))
    return {
        (groups[one].label, groups[other].label, quantity): next(intervals)
        for one, other in pairs
        for quantity in QUANTITIES
    }


def _weights(values: FloatArray) -> FloatArray:
    """Return [quantities, P]: each point's weight in the hypervolume and in the metric at each of GAINS."""
    rows = front(values)
    gains = values[rows, 1]
    found = np.zeros((len(QUANTITIES), len(values)))
    found[0, rows] = np.diff(gains.clip(min=0.0), prepend=0.0)  # what is slower than dense adds no volume
    for at, gain in enumerate(GAINS, start=1):
        for place, row in enumerate(rows):
            unit = np.zeros(len(rows))
            unit[place] = 1.0
            found[at, row] = np.interp(gain, gains, unit, right=0.0)
    return found
