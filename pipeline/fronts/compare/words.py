"""What a comparison says, in sentences: which differences are real, and what more seeds could see."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.fronts.compare.across import Standings
from pipeline.fronts.compare.comparison import LEAST_SEEDS, SEES, Comparison, Panel, Test
from pipeline.fronts.statistics import LEVEL

UNLIKE_TRIALS = 1.2  # times as many trials: more trials find more


def sentences(comparison: Comparison) -> list[str]:
    """The comparison's conclusions, the ones on test rows first where there are any."""
    panel = comparison.test or comparison.validation
    found = [
        sentence for test in panel.tests if test.quantity == "hypervolume" for sentence in _pair(panel, test)
    ]
    return found + list(_caveats(comparison))


def standings_sentences(standings: Standings) -> list[str]:
    """Who ranks where over tasks, and who is not told apart."""
    ranking = standings.ranking
    order = sorted(zip(ranking.ranks, standings.methods, strict=True))
    found = [
        f"Average ranks over {len(standings.tasks)} tasks: "
        + ", ".join(f"{method} {place:.2f}" for place, method in order)
        + "."
    ]
    if math.isnan(ranking.p) or ranking.p >= 1 - LEVEL:
        p = "" if math.isnan(ranking.p) else f" (p {_p(ranking.p)})"
        return [*found, f"The methods are not told apart at all{p}: more tasks would be needed."]
    found.append(
        f"The methods differ (Friedman with Iman and Davenport's correction, p {_p(ranking.p)}). Two of them differ "
        f"where their average ranks are more than {ranking.critical_difference:.2f} apart (Nemenyi)."
    )
    found += [f"Not told apart: {', '.join(group)}." for group in standings.alike]
    return found


def _pair(panel: Panel, test: Test) -> Iterator[str]:
    one, other, found = test.first, test.second, test.difference
    if min(test.seeds) < LEAST_SEEDS:
        yield (
            f"{one} and {other} have {test.seeds[0]} and {test.seeds[1]} seeds: below {LEAST_SEEDS} no difference is "
            f"called (hypervolume {found.mean:+.4f}). `search --seeds {LEAST_SEEDS}` runs more."
        )
        return
    if math.isnan(found.p):
        yield f"{one} and {other}: the hypervolume has no spread over the seeds, so that no test can be made."
        return
    how = f"{test.seeds[0]} seeds in pairs" if found.paired else f"{test.seeds[0]} and {test.seeds[1]} seeds"
    sign = -1.0 if test.real and found.mean < 0 else 1.0  # a real difference is told as the better one's gain
    low, high = sorted((sign * found.low, sign * found.high))
    numbers = (
        f"hypervolume {sign * found.mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, "
        f"p {_p(test.corrected)} ({how}, on {panel.rows} rows)"
    )
    if not test.real:
        yield (
            f"{one} and {other}: no difference can be called; {numbers}. With this spread {_sight(test)} of "
            "hypervolume four times in five."
        )
        return
    better, worse = (one, other) if found.mean > 0 else (other, one)
    yield f"{better} is better than {worse}: {numbers}.{_places(panel, test, sign)}"


def _sight(test: Test) -> str:
    seen = [f"{seeds} seeds find {value:.4f}" for seeds, value in zip(SEES, test.sees, strict=True)]
    return ", ".join(seen[:-1]) + f" and {seen[-1]}"


def _places(panel: Panel, volume: Test, sign: float) -> str:
    """Where on the front a difference lies."""
    at = [
        test
        for test in panel.tests
        if (test.first, test.second) == (volume.first, volume.second) and test.quantity != "hypervolume"
    ]
    real = [
        f"{test.quantity.removeprefix('metric at ')} ({sign * test.difference.mean:+.4f})"
        for test in at
        if test.real
    ]
    if not real:
        return " At no single share of the encoder the difference can be called."
    return f" The metric differs at {', '.join(real)}."


def _caveats(comparison: Comparison) -> Iterator[str]:
    worths = comparison.validation.worths
    trials = {worth.label: sum(worth.trials) / len(worth.trials) for worth in worths}
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
