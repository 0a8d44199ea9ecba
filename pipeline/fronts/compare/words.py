"""A comparison in sentences: which differences are significant, and which ones more seeds would detect."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.fronts.compare.across import Standings
from pipeline.fronts.compare.comparison import LEAST_SEEDS, SEED_COUNTS, Comparison, Panel, Test
from pipeline.fronts.statistics import LEVEL

UNLIKE_TRIALS = 1.2  # times as many trials: more trials find more


def sentences(comparison: Comparison) -> list[str]:
    """Return a comparison's conclusions, on test rows if there are any, and what limits them."""
    panel = comparison.test or comparison.validation
    if len(comparison.groups) == 1:
        return [_alone(panel), *_caveats(comparison)]
    found = [
        sentence for test in panel.tests if test.quantity == "hypervolume" for sentence in _pair(panel, test)
    ]
    return found + list(_caveats(comparison))


def standings_sentences(standings: Standings) -> list[str]:
    """Return the ranking of methods over tasks, and which methods do not differ significantly."""
    ranking = standings.ranking
    order = sorted(zip(ranking.ranks, standings.methods, strict=True))
    found = [
        f"Average ranks over {len(standings.tasks)} tasks: "
        + ", ".join(f"{method} {place:.2f}" for place, method in order)
        + "."
    ]
    if math.isnan(ranking.p) or ranking.p >= 1 - LEVEL:
        p = "" if math.isnan(ranking.p) else f" (p {_p(ranking.p)})"
        return [*found, f"The methods do not differ significantly{p}: more tasks would be needed."]
    found.append(
        f"The methods differ (Friedman with Iman and Davenport's correction, p {_p(ranking.p)}). Two of them differ "
        f"where their average ranks are more than {ranking.critical_difference:.2f} apart (Nemenyi)."
    )
    found += [f"Not significantly different: {', '.join(group)}." for group in standings.indistinguishable]
    return found


def _alone(panel: Panel) -> str:
    """Return what is said of one group: there is no second one to compare it with."""
    (one,) = panel.qualities
    seeds = len(one.seeds)
    if seeds == 1:
        return (
            f"{one.label} is one study: nothing to compare with. Name another one, or run `search --seeds "
            f"{LEAST_SEEDS}` to see how much seeds differ."
        )
    few = f": too few to call a difference (at least {LEAST_SEEDS})" if seeds < LEAST_SEEDS else ""
    return f"{seeds} seeds of one search, {one.label}{few}. Nothing to compare with: name another study."


def _pair(panel: Panel, test: Test) -> Iterator[str]:
    one, other, found = test.first, test.second, test.difference
    if min(test.seeds) < LEAST_SEEDS:
        yield (
            f"{one} and {other} have {test.seeds[0]} and {test.seeds[1]} seeds: with fewer than {LEAST_SEEDS} no "
            f"difference is tested (hypervolume {found.mean:+.4f}). `search --seeds {LEAST_SEEDS}` runs more."
        )
        return
    if math.isnan(found.p):
        yield f"{one} and {other}: the hypervolume has no spread over the seeds, so that no test can be made."
        return
    how = f"{test.seeds[0]} seeds in pairs" if found.paired else f"{test.seeds[0]} and {test.seeds[1]} seeds"
    sign = -1.0 if test.significant and found.mean < 0 else 1.0  # a gain of the better one
    low, high = sorted((sign * found.low, sign * found.high))
    numbers = (
        f"hypervolume {sign * found.mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, "
        f"p {_p(test.corrected)} ({how}, on {panel.rows} rows)"
    )
    if not test.significant:
        yield (
            f"{one} and {other}: no significant difference; {numbers}. With this spread the minimum detectable "
            f"difference in hypervolume (at 80 % power) is {_detectable(test)}."
        )
        return
    better, worse = (one, other) if found.mean > 0 else (other, one)
    yield f"{better} is better than {worse}: {numbers}.{_places(panel, test, sign)}"


def _detectable(test: Test) -> str:
    each = [
        f"{value:.4f} with {seeds} seeds" for seeds, value in zip(SEED_COUNTS, test.detectable, strict=True)
    ]
    return ", ".join(each[:-1]) + f" and {each[-1]}"


def _places(panel: Panel, volume: Test, sign: float) -> str:
    """Return where on the front a difference lies."""
    at = [
        test
        for test in panel.tests
        if (test.first, test.second) == (volume.first, volume.second) and test.quantity != "hypervolume"
    ]
    significant = [
        f"{test.quantity.removeprefix('metric at ')} ({sign * test.difference.mean:+.4f})"
        for test in at
        if test.significant
    ]
    if not significant:
        return " The difference in the metric is not significant at 25, 50 or 75 %."
    return f" The metric differs significantly at {', '.join(significant)}."


def _caveats(comparison: Comparison) -> Iterator[str]:
    qualities = comparison.validation.qualities
    trials = {each.label: sum(each.trials) / len(each.trials) for each in qualities}
    if max(trials.values()) > UNLIKE_TRIALS * min(trials.values()):
        counts = ", ".join(f"{label} {count:.0f}" for label, count in trials.items())
        yield f"The studies have had different numbers of trials ({counts}), and more trials find more."
    dense = {group.label: group.spec.anchors.dense for group in comparison.groups}
    if max(dense.values()) - min(dense.values()) > 1e-9:
        values = ", ".join(f"{label} {value:.4f}" for label, value in dense.items())
        yield f"Their dense networks differ ({values}): read the raw hypervolume, which is what is tested."
    if comparison.test is None:
        yield (
            "These fronts are on the validation rows that chose them. `confirm` measures chosen points on test rows "
            "and fresh seeds; once every study has some, those are compared."
        )


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"= {value:.4f}"
