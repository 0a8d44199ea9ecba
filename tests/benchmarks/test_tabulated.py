"""A table of trials stands for a search space: the nearest one that is left, whatever it showed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.study.records import Params
from pipeline.study.space import load_space
from pipeline.task.loading import load_task
from tests.benchmarks.search_economy import RANDOM
from tests.benchmarks.tabulated import SPACE, VALIDATION_ROWS, Tabulated, TrialTable, make_task, row_of
from tests.kit.synthetic import point, record


@pytest.fixture
def table(tmp_path: Path) -> TrialTable:
    """Trials at penalties 0.01, 1 and 20, the others as the space's default."""
    file = tmp_path / "space.toml"
    file.write_text(SPACE)
    space = load_space("snip", file=file, pretrained=True)
    trials = []
    for place, penalty in enumerate((0.01, 1.0, 20.0)):
        points = [
            {"kind": "curve", "threshold": 0.1, "compression": 0.2, "seen": 0.8, "unseen": 0.7},
            {
                "kind": "recovered",
                "threshold": 0.2,
                "compression": 0.5,
                "seen": 0.9 - place / 10,
                "unseen": 0.6,
            },
        ]
        rungs = [
            {"epoch": 1.0, "metric": [0.8, 0.7], "compression": [0.0, 0.6]},
            {"epoch": 2.0, "metric": [0.85, 0.75], "compression": [0.1, 0.5]},
        ]
        params = {**space.defaults(), "penalty_strength": penalty}
        trials.append({"params": params, "epochs": 4.0, "rungs": rungs, "points": points})
    written = tmp_path / "table.json"
    written.write_text(json.dumps({"about": "toys", "space": space.toml, "constant": 0.5, "trials": trials}))
    return TrialTable.read(written)


def at(table: TrialTable, penalty: float) -> Params:
    return {**table.space.defaults(), "penalty_strength": penalty}


def test_the_nearest_trial_in_logarithms_and_none_twice(table: TrialTable) -> None:
    taken = Tabulated(table)
    record, unseen = taken.record(0, at(table, 5.0))  # 20 is a factor 4 away, 1 a factor 5
    assert record.points[-1].measurement.metric == pytest.approx(0.7)
    assert record.params["penalty_strength"] == 5.0  # what the sampler drew
    assert unseen.tolist() == [0.7, 0.6]
    assert taken.record(0, at(table, 5.0))[0] == record  # the same number is the same trial
    assert taken.record(1, at(table, 5.0))[0].points[-1].measurement.metric == pytest.approx(0.8)
    assert taken.record(2, at(table, 5.0))[0].points[-1].measurement.metric == pytest.approx(0.9)
    assert Tabulated(table).record(0, at(table, 0.02))[0].points[-1].measurement.metric == pytest.approx(0.9)


def test_what_it_showed_in_training(table: TrialTable) -> None:
    taken = Tabulated(table)
    assert taken.rung(0, at(table, 1.0), 1, 0.5).metric == (0.85, 0.75)
    assert taken.end_so_far(0, at(table, 1.0), 0.6) == (0.75, 0.5)  # its end is at 0.5
    assert taken.end_so_far(0, at(table, 1.0), 1 / 9) == (0.7, 0.6)
    with pytest.raises(ValueError, match="looked at after"):
        taken.rung(0, at(table, 1.0), 0, 0.3)


def test_a_search_ends_with_the_table(table: TrialTable) -> None:
    searched = RANDOM.search(table.space, table.fresh(0), seed=0)
    outcome = searched.run(epochs=100.0)
    assert (outcome.trials, searched.epochs) == (3, 12.0)
    # chosen: (0.9, 0.5), which is worth 0.6 there; the same of all others is below it
    assert outcome.history[-1][1] == pytest.approx((0.6 - 0.5) * 0.5)


def test_validation_from_other_rows(tmp_path: Path) -> None:
    def write(name: str, sentences: list[str]) -> None:
        lines = [f"{text}\t{number % 2}" for number, text in enumerate(sentences)]
        (tmp_path / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n")

    own = [f'own " word {number}' for number in range(700)]
    write("train.tsv", own)
    write("test.tsv", [f"test {number}" for number in range(20)])
    write("more.tsv", [*own, *(f"more ' word {number}" for number in range(1500))])
    (tmp_path / "task.toml").write_text(
        'name = "toy"\nmetric = "accuracy"\ntext = ["sentence"]\nlabel = "label"\n'
        '[files]\ntrain = "train.tsv"\ntest = "test.tsv"\n'
    )
    made = make_task(tmp_path / "task.toml", tmp_path / "more.tsv", tmp_path / "made")
    task = load_task(str(made), cache=tmp_path / "cache")
    assert task.validation.num_rows == VALIDATION_ROWS
    assert task.train.num_rows == len(own)
    assert all(text.startswith("more") for text in task.validation["text_a"].to_pylist())


def test_the_end_of_a_ladder_is_its_network_nearest_to_the_target() -> None:
    labels, seen = np.array([0, 1, 0, 1]), np.array([True, True, False, False])
    guessed = ((0, 1, 0, 1), (0, 1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0))
    shares = (0.0, 0.3, 0.6, 0.9)
    points = [
        point(0.0, share, kind="recovered" if share else "curve", predictions=made)
        for share, made in zip(shares, guessed, strict=True)
    ]
    row = row_of(replace(record(0, *points), params={"target": 0.55}), labels, seen, "accuracy")
    found = [(each["compression"], each["seen"], each["unseen"]) for each in row["points"]]
    assert found == [(0.0, 1.0, 1.0), (0.3, 1.0, 0.5), (0.9, 0.5, 0.0), (0.6, 0.5, 1.0)]
