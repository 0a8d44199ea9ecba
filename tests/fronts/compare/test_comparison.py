"""A comparison's numbers by hand and by scipy; what it calls, over many studies; what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.fronts.compare import (
    Entry,
    Group,
    compare,
    gather,
    names_of,
    rank_across_tasks,
    sentences,
    standings_sentences,
)
from pipeline.fronts.compare.comparison import GAINS, QUANTITIES, _weights
from pipeline.fronts.front import Front
from pipeline.fronts.statistics import metric_at
from pipeline.study.pareto import hypervolume
from pipeline.study.records import BadInput
from tests.kit.compare import confirm, write_group, write_study
from tests.kit.synthetic import ANCHORS, spec


def compared(root: Path, *names: str):  # type: ignore[no-untyped-def]
    return compare(gather(root, names))


def test_studies_that_differ_in_their_seed_are_one_group(tmp_path: Path) -> None:
    snip = write_group(tmp_path, "snip", [0.80, 0.82, 0.84])
    chance = write_group(tmp_path, "chance", [0.6, 0.7], method="chance")
    groups = gather(tmp_path, [snip[2], *chance, *snip[:2]])
    assert [(group.label, group.seeds) for group in groups] == [("snip", (0, 1, 2)), ("chance", (0, 1))]


def test_worths_by_hand(tmp_path: Path) -> None:
    names = write_group(tmp_path, "snip", [0.80, 0.82, 0.84])
    (worth,) = compared(tmp_path, *names).validation.qualities
    # 0.5 wide, 0.3, 0.32, 0.34 above the constant 0.5; dense - constant is 0.4
    assert worth.hypervolume.mean == pytest.approx(0.5 * 0.32)
    assert worth.hypervolume.deviation == pytest.approx(0.5 * 0.02)
    assert worth.hypervolume_normalised.mean == pytest.approx(0.4)
    # half way between 0.9 at 0 % and 0.82 at 50 %; 0.82 at 50 %; the constant beyond
    assert [found.mean for found in worth.metric_at] == pytest.approx([0.86, 0.82, 0.5])
    assert worth.without == (0, 0, 3)


def test_a_dense_network_below_the_constant_gives_no_scale(tmp_path: Path) -> None:
    """Divided by dense - constant = -0.1, a better front would have the lower quality."""
    low = replace(ANCHORS, dense=0.4)
    write_study(tmp_path, "low", [(0.8, 0.5)], anchors=low)  # type: ignore[arg-type]
    (worth,) = compared(tmp_path, "low").validation.qualities
    assert worth.hypervolume.mean == pytest.approx(0.5 * 0.3)
    assert math.isnan(worth.hypervolume_normalised.mean)
    assert worth.hypervolume_normalised.count == 0


def test_shared_seeds_are_paired_and_others_are_welchs(tmp_path: Path) -> None:
    one, other, third = [0.80, 0.82, 0.84], [0.70, 0.73, 0.71], [0.7, 0.72, 0.74, 0.7]
    write_group(tmp_path, "one", one)
    write_group(tmp_path, "other", other, method="chance")
    write_group(tmp_path, "third", third, sampler="random")
    tests = {
        (t.first, t.second, t.quantity): t
        for t in compared(tmp_path, *names_of(tmp_path, [], task="toy")).validation.tests
    }
    volume = QUANTITIES[0]
    paired, welch = tests["one", "other", volume], tests["one", "third", volume]
    assert paired.difference.p == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert welch.difference.p == pytest.approx(stats.ttest_ind(one, third, equal_var=False).pvalue)
    p_values = [t.difference.p for t in tests.values() if t.quantity == volume]
    corrected = sorted((3 - at) * p for at, p in enumerate(sorted(p_values)))
    assert sorted(t.corrected for t in tests.values() if t.quantity == volume) == pytest.approx(
        np.minimum(np.maximum.accumulate(corrected), 1)
    )


def test_below_three_seeds_nothing_is_called(tmp_path: Path) -> None:
    names = write_group(tmp_path, "a", [0.80, 0.801]) + write_group(
        tmp_path, "b", [0.55, 0.5501], method="chance"
    )
    found = compared(tmp_path, *names)
    assert not any(test.significant for test in found.validation.tests)
    assert any("with fewer than 3 no difference is tested" in sentence for sentence in sentences(found))


@pytest.mark.parametrize(
    ("worths", "says"),
    [
        ([0.8], "a is one study: nothing to compare with."),
        (
            [0.8, 0.7],
            "2 seeds of one search, a: too few to call a difference (at least 3). Nothing to compare",
        ),
        ([0.8, 0.7, 0.75], "3 seeds of one search, a. Nothing to compare with"),
    ],
)
def test_one_group_has_nothing_to_compare_with(tmp_path: Path, worths: list[float], says: str) -> None:
    (first, *_) = sentences(compared(tmp_path, *write_group(tmp_path, "a", worths)))
    assert says in first


def test_words_say_which_differences_are_real_and_where(tmp_path: Path) -> None:
    names = write_group(tmp_path, "snip", [0.80, 0.81, 0.82]) + write_group(
        tmp_path, "chance", [0.60, 0.60, 0.62], method="chance"
    )
    said = sentences(compared(tmp_path, *names))
    assert said[0].startswith("snip is better than chance: hypervolume +0.1017")
    assert "25 % (+0.1017), 50 % (+0.2033)." in said[0]
    assert any("`confirm`" in sentence for sentence in said)


def test_a_difference_is_reported_as_the_better_ones_gain(tmp_path: Path) -> None:
    names = write_group(tmp_path, "chance", [0.60, 0.60, 0.62], method="chance") + write_group(
        tmp_path, "snip", [0.80, 0.81, 0.82]
    )
    found = compared(tmp_path, *names)
    assert found.validation.tests[0].difference.mean < 0
    assert sentences(found)[0].startswith(
        "snip is better than chance: hypervolume +0.1017, 95 % interval +0.0"
    )


def test_words_say_what_more_seeds_could_see(tmp_path: Path) -> None:
    names = write_group(tmp_path, "a", [0.80, 0.75, 0.82]) + write_group(
        tmp_path, "b", [0.78, 0.80, 0.77], method="chance"
    )
    found = compared(tmp_path, *names)
    (first, *_) = sentences(found)
    assert first.startswith("a and b: no significant difference")
    test = found.validation.tests[0]
    assert f"{test.detectable[0]:.4f} with 3 seeds, {test.detectable[1]:.4f} with 5 seeds and" in first
    assert test.detectable[0] > test.detectable[1] > test.detectable[2] > 0


def test_metrics_are_asked_only_of_pairs_that_differ(tmp_path: Path) -> None:
    names = write_group(tmp_path, "a", [0.80, 0.75, 0.82]) + write_group(
        tmp_path, "b", [0.78, 0.80, 0.77], method="chance"
    )
    later = compared(tmp_path, *names).validation.tests[1:]
    assert [test.quantity for test in later] == list(QUANTITIES[1:])
    assert all(math.isnan(test.corrected) and not test.significant for test in later)


def _group(label: str, volumes: np.ndarray) -> Group:
    """Studies that have been read: each front is one network at full gain, `volume` above the constant."""
    entries = []
    for seed, volume in enumerate(volumes):
        made = replace(spec(f"{label}-seed{seed}"), seed=seed)
        entry = Entry(Front(made, (), 0.0, 1, 1, 0, {"failed": 0, "stopped": 0}, {}, 1.0, 1.0), None)
        entry.__dict__["values"] = np.array([(ANCHORS.constant + volume, 1.0)])
        entries.append(entry)
    return Group(label, tuple(entries))


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5])
def test_at_most_16_of_200_equal_pairs_are_called(seeds: int) -> None:
    """Any of the comparison's tests counts, not hypervolume alone."""
    draws = np.random.default_rng(seeds).normal(0.3, 0.02, (200, 2, seeds))
    calls = 0
    for one, other in draws:
        found = compare([_group("a", one), _group("b", other)])
        calls += any(test.significant for test in found.validation.tests)
    assert calls <= 16


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "errors"), [(3, 3.0), (5, 2.0)])
def test_a_true_difference_is_called_about_as_often_as_theory_says(seeds: int, errors: float) -> None:
    draws = np.random.default_rng(10 + seeds).normal(0.3, 0.02, (200, 2, seeds))
    draws[:, 0] += errors * 0.02 * math.sqrt(2 / seeds)
    calls = sum(
        compare([_group("a", one), _group("b", other)]).validation.tests[0].significant
        for one, other in draws
    )
    bar = stats.t.ppf(0.975, seeds - 1)  # seeds are shared: pairs
    theory = stats.nct.sf(bar, seeds - 1, errors)
    assert calls / 200 >= theory - 0.10


def test_confirmed_studies_are_compared_on_test_rows(tmp_path: Path) -> None:
    labels = [0, 1] * 10
    worths = {"snip": (16, 17, 18), "chance": (12, 12, 14)}  # of 20 rows right, by seed
    for name, rights in worths.items():
        for study, right in zip(
            write_group(tmp_path, name, [0.8, 0.8, 0.8], method=name), rights, strict=True
        ):
            wrong = np.array(labels)
            wrong[right:] = 1 - wrong[right:]
            confirm(tmp_path, study, 1, [wrong.tolist(), wrong.tolist()], labels)
    groups = gather(tmp_path, names_of(tmp_path, [], task="toy"))
    found = compare(groups)
    assert found.test is not None
    by_label = {worth.label: worth for worth in found.test.qualities}
    assert by_label["snip"].hypervolume.mean == pytest.approx(0.5 * (0.85 - 0.5))
    volume = found.test.tests[0]
    assert volume.significant
    assert abs(volume.difference.mean) == pytest.approx(0.5 * (17 - 38 / 3) / 20)
    assert volume.rows is not None
    assert volume.rows.mean == pytest.approx(volume.difference.mean)
    assert volume.rows.low < volume.rows.mean < volume.rows.high
    assert "on test rows" in sentences(found)[0]


OTHERS = {
    "rows": ({"task_fingerprint": "beef"}, "rows"),
    "task": ({"task": "elsewhere"}, "--across-tasks"),
    "metric": ({"metric": "matthews"}, "metric"),
    "objective": ({"objective": "macs"}, "objective"),
    "model": ({"model_fingerprint": "cafe"}, "--across-models"),
}


@pytest.mark.parametrize(("other", "says"), OTHERS.values(), ids=OTHERS.keys())
def test_what_cannot_be_compared_is_refused(tmp_path: Path, other: dict[str, str], says: str) -> None:
    write_study(tmp_path, "one", [(0.8, 0.5)])
    write_study(tmp_path, "two", [(0.8, 0.5)], **other)
    with pytest.raises(BadInput, match=says):
        gather(tmp_path, ["one", "two"])


def test_models_may_differ_if_that_is_said(tmp_path: Path) -> None:
    write_study(tmp_path, "one", [(0.8, 0.5)])
    write_study(tmp_path, "two", [(0.8, 0.5)], model_fingerprint="cafe")
    assert len(gather(tmp_path, ["one", "two"], across_models=True)) == 2


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, "one", [(0.8, 0.5)])
    write_study(tmp_path, "again", [(0.8, 0.5)])
    with pytest.raises(BadInput, match="seed 0 included"):
        gather(tmp_path, ["one", "again"])


def test_a_study_without_a_trial_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, "one", [(0.8, 0.5)])
    write_study(tmp_path, "two", method="chance")
    with pytest.raises(BadInput, match="no finished trial"):
        compared(tmp_path, "one", "two")


def test_names_or_a_task_and_method(tmp_path: Path) -> None:
    write_study(tmp_path, "one", [(0.8, 0.5)])
    write_study(tmp_path, "two", [(0.8, 0.5)], method="chance")
    assert names_of(tmp_path, [], task="toy") == ["one", "two"]
    assert names_of(tmp_path, [], method="chance") == ["two"]
    for asked in ({"studies": ["one"], "task": "toy"}, {"studies": []}, {"studies": [], "task": "nowhere"}):
        with pytest.raises(BadInput):
            names_of(tmp_path, **asked)  # type: ignore[arg-type]


def test_methods_are_ranked_over_tasks(tmp_path: Path) -> None:
    for task in ("a", "b", "c"):
        write_study(tmp_path, f"{task}-snip", [(0.8, 0.5)], task=task, task_fingerprint=task)
        write_study(
            tmp_path, f"{task}-chance", [(0.7, 0.5)], task=task, task_fingerprint=task, method="chance"
        )
    groups = gather(
        tmp_path,
        names_of(tmp_path, [], method="snip") + names_of(tmp_path, [], method="chance"),
        across_tasks=True,
    )
    found = rank_across_tasks(groups)
    assert dict(zip(found.methods, found.ranking.ranks, strict=True)) == {"snip": 1.0, "chance": 2.0}
    assert found.scores[:, 0] == pytest.approx(0.5 * 0.3 / 0.4)
    assert standings_sentences(found)[0] == "Average ranks over 3 tasks: snip 1.00, chance 2.00."
    with pytest.raises(BadInput, match="no study on c"):
        rank_across_tasks([group for group in groups if group.spec.name != "c-snip"])
    write_study(tmp_path, "a-snip-few", [(0.6, 0.5)], task="a", task_fingerprint="other rows")
    few = gather(tmp_path, ["a-snip-few"], across_tasks=True)
    with pytest.raises(
        BadInput, match="a-snip and a-snip-few are two groups of one method on a, on other rows"
    ):
        rank_across_tasks([*groups, *few])


@pytest.mark.parametrize("gains", [[0.0, 0.3, 0.8], [-0.1, 0.3, 0.8], [-0.2, -0.1, 0.5]])
def test_weights_of_points_are_those_of_their_quantities(gains: list[float]) -> None:
    """With weights, hypervolume and metrics at gains are sums of metrics; latency gains may be below 0."""
    values = np.array([[0.9, 0.8, 0.6], gains]).T
    volume, *at = _weights(values) @ values[:, 0]
    constant = 0.5
    assert volume - constant * max(gains) == pytest.approx(hypervolume(values, (constant, 0.0)))
    inside = [gain <= max(gains) for gain in GAINS]
    expected = metric_at(values, GAINS, beyond=0.0)
    assert np.array(at)[inside] == pytest.approx(expected[inside])
