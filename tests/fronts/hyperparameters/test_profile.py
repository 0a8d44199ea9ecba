"""Which penalties are good: from trials whose best penalty is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fronts.hyperparameters import LEAST_TRIALS, TrialFront, importances, penalty_profile
from pipeline.study.pareto import hypervolume
from pipeline.study.space import load_space
from tests.kit.synthetic import spec

REFERENCE = (0.5, 0.0)
DEFAULTS = load_space("snip", file=None, pretrained=True).defaults()


def trial(number: int, penalty: float, worth: float) -> TrialFront:
    params = {"penalty_strength": penalty, "learning_rate": 1e-4}
    return TrialFront(number, params, np.array([(worth, 0.5)]), (worth, 0.5))  # type: ignore[arg-type]


def trials(count: int, *, best: float, slope: float, noise: float = 0.005) -> list[TrialFront]:
    """Worth falls with the distance to the best penalty, in decades."""
    generator = np.random.default_rng(count)
    penalties = np.geomspace(0.01, 10, count)
    worths = 0.9 - slope * np.abs(np.log10(penalties / best)) + generator.normal(0, noise, count)
    return [trial(n, float(p), float(w)) for n, (p, w) in enumerate(zip(penalties, worths, strict=True))]


def test_the_best_penalty_is_in_the_range_and_a_bad_one_is_not() -> None:
    found = penalty_profile(trials(40, best=1.0, slope=0.1), REFERENCE)
    assert found is not None
    assert found.distinguishable
    assert found.low <= 1.0 <= found.high
    assert found.low > 0.05
    assert found.trials_needed is None
    assert [band.trials for band in found.bands] == [8] * 5


def test_a_bands_worth_is_the_hypervolume_of_its_networks() -> None:
    known = trials(8, best=1.0, slope=0.1)
    found = penalty_profile(known, REFERENCE)
    assert found is not None
    values = np.concatenate([one.values for one in known[:4]])
    assert found.bands[0].hypervolume == pytest.approx(hypervolume(values, REFERENCE))


def test_penalties_that_do_not_matter_are_not_distinguished() -> None:
    flat = penalty_profile([trial(n, 0.1 * (n + 1), 0.8) for n in range(12)], REFERENCE)
    assert flat is not None
    assert not flat.distinguishable
    assert (flat.low, flat.high) == pytest.approx((0.1, 1.2))
    assert flat.trials_needed is None  # equal to the last digit: no number of trials would


def test_chance_seldom_distinguishes_penalties() -> None:
    """Trials whose penalties do not matter: a permutation test is wrong in one of twenty."""
    called = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        worths = 0.8 + generator.normal(0, 0.02, 24)
        known = [trial(n, 0.1 * (n + 1), float(worth)) for n, worth in enumerate(worths)]
        found = penalty_profile(known, REFERENCE)
        assert found is not None
        called += found.distinguishable
        assert found.distinguishable or found.trials_needed >= 24
    assert called <= 4, f"{called} of 20"  # 5 or more of 20 at 5 %: 3 in 1,000


def test_more_trials_are_said_to_be_needed_where_noise_hides_a_slope() -> None:
    found = penalty_profile(trials(8, best=10.0, slope=0.005, noise=0.03), REFERENCE)
    assert found is not None
    assert found.trials_needed is None or found.trials_needed > 8


@pytest.mark.parametrize(
    "known",
    [
        [trial(n, 1.0 + n, 0.8) for n in range(LEAST_TRIALS - 1)],
        [trial(n, 1.0, 0.8) for n in range(20)],
        [TrialFront(n, {"target": 0.5}, np.array([(0.8, 0.5)]), None) for n in range(20)],
    ],
    ids=["few", "fixed", "none"],
)
def test_without_what_it_needs_there_is_no_profile(known: list[TrialFront]) -> None:
    assert penalty_profile(known, REFERENCE) is None


def test_importance_is_of_what_decides() -> None:
    generator = np.random.default_rng(0)
    made = []
    for number in range(40):
        penalty, rate = (float(10 ** generator.uniform(*ends)) for ends in ((-2, 1.3), (-5.3, -3.3)))
        worth = 0.8 - 0.1 * abs(np.log10(penalty))
        params = DEFAULTS | {"penalty_strength": penalty, "learning_rate": rate}
        made.append(
            TrialFront(number, params, np.array([(worth, 0.5)]), (worth, float(generator.random())))  # type: ignore[arg-type]
        )
    found = importances(spec(), made)
    assert set(found) == {"metric", "compression"}
    assert next(iter(found["metric"])) == "penalty_strength"
    assert found["metric"]["penalty_strength"] > 0.8
    assert importances(spec(), made[:5]) == {}
