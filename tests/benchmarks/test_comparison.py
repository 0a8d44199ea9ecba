"""The comparison's plan: every method gets the same targets and epochs; differences are paired by seed, by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.methods.registry import METHODS
from pipeline.study.space import load_space
from tests.benchmarks.comparison.__main__ import study_name
from tests.benchmarks.comparison.plan import Planned, entry, planned, space_toml, units
from tests.benchmarks.comparison.scoring import Scored, StudyScore, score_file
from tests.benchmarks.comparison.table import _yardsticks, print_table
from tests.kit.toy import write_task

NAMES = sorted(METHODS)


@pytest.mark.parametrize("method", NAMES)
def test_a_trial_for_each_target_and_all_else_fixed_at_the_defaults(method: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(space_toml(entry(method), (0.33, 0.49, 0.65), epochs=4))
    space = load_space(method, file=file, pretrained=True)
    starts = space.starts()
    assert sorted(start["target"] for start in starts) == [0.33, 0.49, 0.65]
    assert {float(start["tune_epochs"]) + float(start["recover_epochs"]) for start in starts} == {4.0}
    assert [name for name, key in space.keys.items() if not key.fixed] == ["target"]
    usual = load_space(method, file=None, pretrained=True).defaults()
    free = {"target", "threshold", "tune_epochs", "recover_epochs"}
    assert {k: v for k, v in starts[0].items() if k not in free} == {
        k: v for k, v in usual.items() if k not in free
    }


def test_settings_in_an_entry(tmp_path: Path) -> None:
    found = entry("snip,level=head,penalty_strength=1,spectral_bound=off")
    assert found.settings == {"level": "head", "penalty_strength": 1, "spectral_bound": "off"}
    task = write_task(tmp_path / "task")
    name = study_name(Planned(found, str(task), 2, (0.49,)))
    assert name == "toy-snip-level-head-penalty_strength-1-spectral_bound-off-at-49-seed2"
    learned = entry("snip+kd,level=block")
    assert (learned.method, learned.distill, learned.settings) == ("snip", "kd", {"level": "block"})
    assert entry("snip-published+cap").settings == entry("snip-published").settings
    order = [
        (each.entry.label, each.seed)
        for each in planned([entry("snip"), entry("chance")], [str(task)], range(2), (0.5,))
    ]
    assert order == [("snip", 0), ("chance", 0), ("snip", 1), ("chance", 1)]


def test_targets_of_single_weights_are_sparsities(tmp_path: Path) -> None:
    both = [entry("first-order"), entry("magnitude")]
    found = {each.entry.label: each.targets for each in planned(both, ["t"], [0], (0.5,), (0.8, 0.9))}
    assert found == {"first-order": (0.5,), "magnitude": (0.8, 0.9)}


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    others = [entry("snip"), entry("chance,level=head")]
    studies = list(planned(others, ["toy/task.toml"], range(3), (0.5,)))
    for item in studies:
        test = {"snip": (0.8, 0.7, 0.9), "chance": (0.7, 0.5, 0.9)}[item.entry.method][item.seed]
        file = score_file(tmp_path, name := f"{item.entry.label}-{item.seed}")
        file.parent.mkdir(exist_ok=True)
        network = Scored(0, 0.5, 0.5, 0.9, test, 4.0)
        file.write_text(json.dumps(asdict(StudyScore(name, "accuracy", 0.6, 0.5, (network,)))))
    snip, chance = print_table(tmp_path, [(item, [f"{item.entry.label}-{item.seed}"]) for item in studies])
    assert (snip.test.mean, snip.test.count, chance.test.mean) == (pytest.approx(0.8), 3, pytest.approx(0.7))
    mean, low, high = snip.differences["chance"]
    # 0.1, 0.2, 0.0: mean 0.1, s = 0.1, t(0.975; 2) = 4.3027
    assert (mean, low, high) == pytest.approx((0.1, 0.1 - 0.24841, 0.1 + 0.24841), abs=1e-4)
    assert chance.differences == {}


def test_chance_is_a_yardstick_on_the_same_units_only() -> None:
    labels = ["snip", "snip-published", "first-order", "mgpp-lifted", "layerdrop", "smp", "chance"]
    assert [units(entry(text)) for text in labels] == [
        "head", "block", "neuron", "neuron", "layer", "head-only", "block"
    ]  # fmt: skip
    ranked = {entry(text).label: units(entry(text)) for text in [*labels, "chance,level=neuron"]}
    assert _yardsticks("first-order", ranked) == {"chance": "chance+level=neuron", "layerdrop": "layerdrop"}
    assert _yardsticks("snip-published", ranked) == {"chance": "chance", "layerdrop": "layerdrop"}
    assert _yardsticks("snip", ranked) == {"layerdrop": "layerdrop"}
    ranked |= {entry(text).label: units(entry(text)) for text in ("magnitude", "chance-weights")}
    assert _yardsticks("magnitude", ranked) == {"chance": "chance-weights"}
    assert _yardsticks("layerdrop", ranked) == _yardsticks("chance+level=neuron", ranked) == {}
