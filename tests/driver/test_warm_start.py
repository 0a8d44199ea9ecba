"""Settings from earlier studies: the portfolio by hand and by brute force, through a store, and in a ledger."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.driver.warm_start import AUTO, StudyKind, greedy, warm_starts
from pipeline.study.ledger.mirror import Mirror, first_trials
from pipeline.study.records import BadInput, Params
from pipeline.study.space import load_space
from pipeline.study.store import Store
from tests.kit.ledger import SPACE, STARTS, spec_of
from tests.kit.synthetic import point, record, spec

SNIP = StudyKind("snip", "none", "compression")
SNIP_SPACE = load_space("snip", file=None, pretrained=True)


def test_the_best_for_one_task_is_joined_by_the_best_for_the_other() -> None:
    # "b" is second on both tasks: mean rank 2; "a" and "c" are first on one and unknown (4th) to the other: 2.5
    ranks = [{"a": 1.0, "b": 2.0, "d": 3.0}, {"c": 1.0, "b": 2.0, "d": 3.0}]
    assert greedy(ranks, most=3) == ["b", "a", "c"]
    assert greedy(ranks, most=9) == ["b", "a", "c", "d"]


@given(st.lists(st.permutations("abcde"), min_size=1, max_size=4), st.integers(1, 5))
def test_the_first_has_the_best_mean_rank_and_each_lowers_the_mean_most(
    orders: list[list[str]], most: int
) -> None:
    ranks = [{text: place + 1.0 for place, text in enumerate(order)} for order in orders]

    def cost(chosen: tuple[str, ...]) -> float:
        return float(np.mean([min(ranked[text] for text in chosen) for ranked in ranks]))

    found = greedy(ranks, most=most)
    assert len(found) == len(set(found)) == most
    for size in range(1, most + 1):
        before = tuple(found[: size - 1])
        assert cost((*before, found[size - 1])) == min(
            cost((*before, text)) for text in set("abcde") - set(before)
        )
    alone = min(cost((text,)) for text in "abcde")
    assert cost(tuple(found)) <= alone
    assert cost(tuple(found)) >= min(cost(some) for some in itertools.combinations("abcde", most))


def add(store: Store, name: str, *penalties: float, method: str = "snip") -> None:
    """A study whose later trials are better, all of them on its front."""
    store.write_spec(spec(name, method=method))
    for number, penalty in enumerate(penalties):
        made = record(number, point(0.8 - 0.1 * number, 0.2 + 0.3 * number))
        params: Params = {**SNIP_SPACE.defaults(), "penalty_strength": penalty}
        store.study(name).write_record(replace(made, params=params))


def test_settings_of_the_front_best_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, "earlier", 0.5, 7.0)  # 0.3 * 0.2 = 0.06 above the constant, then 0.2 * 0.5 = 0.1
    found = warm_starts(store, "earlier", kind=SNIP, space=SNIP_SPACE)
    assert [params["penalty_strength"] for params in found] == [7.0, 0.5]
    add(store, "other", 3.0, 0.5)
    found = warm_starts(store, AUTO, kind=SNIP, space=SNIP_SPACE)
    assert found[0]["penalty_strength"] == 0.5  # ranks 2 and 1, all others 1 or 2 and 3
    assert sorted(params["penalty_strength"] for params in found) == [0.5, 3.0, 7.0]


def test_what_the_space_fixes_stays_and_what_it_does_not_admit_is_left_out(tmp_path: Path) -> None:
    store, narrow = Store(tmp_path), tmp_path / "narrow.toml"
    add(store, "earlier", 0.5, 7.0)
    narrow.write_text("[penalty_strength]\nlow = 0.1\nhigh = 1.0\ndefault = 0.3\n[tune_epochs]\nvalue = 1\n")
    space = load_space("snip", file=narrow, pretrained=True)
    (found,) = warm_starts(store, "earlier", kind=SNIP, space=space)
    assert (found["penalty_strength"], found["tune_epochs"]) == (0.5, 1)


def test_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(BadInput, match=r"has 0 studies of snip against compression to start from\. Leave"):
        warm_starts(store, AUTO, kind=SNIP, space=SNIP_SPACE)
    add(store, "random", 0.5, method="chance")
    with pytest.raises(BadInput, match="'random' is chance against compression, this study snip against"):
        warm_starts(store, "random", kind=SNIP, space=SNIP_SPACE)
    with pytest.raises(BadInput, match="nowhere"):
        warm_starts(store, "nowhere", kind=SNIP, space=SNIP_SPACE)


def test_they_are_the_first_trials_and_the_spaces_own_follow() -> None:
    warm: Params = {**STARTS[0], "penalty": 0.25}
    frozen = replace(spec_of(), starts=json.dumps([warm, STARTS[1]]))
    assert first_trials(frozen, SPACE) == [warm, STARTS[1], STARTS[0], *STARTS[2:]]
    mirror = Mirror([])
    drawn = [mirror.draw(frozen, SPACE, start=4) for _ in range(6)]
    asked = [trial.user_attrs["params"] for trial in drawn]
    assert asked[: len(STARTS) + 1] == first_trials(frozen, SPACE)
