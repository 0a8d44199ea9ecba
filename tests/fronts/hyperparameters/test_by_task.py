"""`best --by-task`: a row per task, model and method, as plain values, csv and text."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.app import run
from pipeline.fronts.bounds import Bounds
from pipeline.fronts.hyperparameters import best_by_task, write_profiles
from pipeline.fronts.statistics import interval
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.compare import confirm, write_group, write_study


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_group(tmp_path, "snip", [0.80, 0.82, 0.84])
    write_study(tmp_path, "chance", [(0.9, 0.0), (0.6, 0.7)], method="chance")
    write_study(tmp_path, "elsewhere", [(0.7, 0.3)], task="other", task_fingerprint="cafe")
    return tmp_path


def test_a_row_per_task_model_and_method(store: Path) -> None:
    found = best_by_task(store, Bounds(min_compression=0.5))
    assert [(one.task, one.method, one.study) for one in found] == [
        ("other", "snip", "elsewhere"),
        ("toy", "snip", "snip-seed2"),
        ("toy", "chance", "chance"),
    ]
    other, snip, chance = found
    assert other.point is None
    assert "compression >= 0.500" in other.why_none
    assert snip.point is not None
    assert snip.point.metric == 0.84
    assert snip.metric == interval([0.80, 0.82, 0.84])
    assert snip.metric_from == "validation, seeds"
    assert chance.metric is not None
    assert chance.metric.mean == 0.6
    assert math.isnan(chance.metric.low)
    assert snip.speed_up is None
    assert snip.point.params["penalty_strength"] == 5.0


def test_a_drop_is_one_below_the_best_dense_network_of_the_seeds(tmp_path: Path) -> None:
    for seed, (name, dense) in enumerate((("snip", 0.7), ("snip-seed1", 0.9))):
        made = write_study(tmp_path, name, [(0.9, 0.0), (0.69, 0.5)], seed=seed)
        Store(tmp_path).write_spec(replace(made, anchors=replace(made.anchors, dense=dense)))
    (row,) = best_by_task(tmp_path, Bounds(max_drop=0.02))
    assert row.dense == 0.9
    assert row.point is not None
    assert row.point.metric == 0.9


def test_a_confirmed_point_has_the_interval_of_its_test(store: Path) -> None:
    labels = [0, 1] * 4
    confirm(store, "chance", 1, [labels, [1, *labels[1:]]], labels)
    row = best_by_task(store, Bounds(min_compression=0.5), task="toy")[0]
    rows = {one.method: one for one in best_by_task(store, Bounds(min_compression=0.5), task="toy")}
    assert row.method == "snip"
    assert rows["chance"].metric == interval([1.0, 7 / 8])
    assert rows["chance"].metric_from == "test, fresh seeds"


def test_an_unknown_task_is_refused(store: Path) -> None:
    with pytest.raises(BadInput, match="it has other, toy"):
        best_by_task(store, Bounds(), task="nowhere")


def test_the_command_prints_writes_csv_and_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["best", "--by-task", "--min-compression", "0.5", "--store", str(store)]
    assert run([*asked, "--csv", str(store / "rows.csv")]) == 0
    shown = capsys.readouterr().out
    assert "0.8200 ± 0.0497" in shown
    assert "trials that a comparison of penalties needs" in " ".join(shown.split())
    with (store / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["penalty"] for row in rows] == ["", "5.0", "5.0"]
    assert rows[1]["metric"] == "0.82"
    assert run([*asked, "--json"]) == 0
    first, second, _ = json.loads(capsys.readouterr().out)["rows"]
    assert first["point" if "point" in first else "penalty"] is None
    assert second["compression"] == 0.5
    assert run(["best", "snip", "--by-task", "--store", str(store)]) == 2
    assert run(["best", "snip", "--csv", "x.csv", "--store", str(store)]) == 2
    assert run(["best", "snip", "--figures", "x", "--store", str(store)]) == 2


@pytest.fixture
def penalised(tmp_path: Path) -> Path:
    """A study of 40 trials that do best at penalty 1, and one of 40 that do not care; and one of too few."""
    for name, task, slope in (("sharp", "</script><img src=x>", 0.1), ("flat", "other", 0.0)):
        generator = np.random.default_rng(1)
        penalties = np.geomspace(0.01, 10, 40)
        worths = 0.8 - slope * np.abs(np.log10(penalties)) + generator.normal(0, 0.01, 40)
        trials = [[(0.88, 0.1), (float(worth), 0.6)] for worth in worths]
        write_study(tmp_path, name, *trials, task=task, task_fingerprint=task)
        for number, penalty in enumerate(penalties):
            made = Store(tmp_path).study(name).read_record(number)
            params = made.params | {"penalty_strength": float(penalty)}
            for file in tmp_path.glob(f"studies/{name}/trials/{number:05d}/record.*"):
                file.unlink()  # a record is written once
            Store(tmp_path).study(name).write_record(replace(made, params=params))
    write_study(tmp_path, "few", [(0.7, 0.3)], task="few", task_fingerprint="few")
    return tmp_path


def test_which_penalties_are_good_as_a_figure_per_task(
    penalised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = penalised / "new" / "figures"
    assert run(["best", "--by-task", "--store", str(penalised), "--figures", str(folder)]) == 0
    told = capsys.readouterr().err
    assert "No figure of few, tiny, snip" in told
    stems = {path.stem for path in folder.iterdir()}
    assert stems == {"penalty-script-img-src-x-tiny-snip", "penalty-other-tiny-snip"}
    for stem in stems:
        assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (folder / f"{stem}.svg").read_bytes()
        page = (folder / f"{stem}.html").read_text()
        assert "https://" not in page.partition("Plotly.newPlot")[2], "it needs no network"
    sharp = (folder / "penalty-script-img-src-x-tiny-snip.html").read_text()
    assert "<img" not in sharp.partition("Plotly.newPlot")[2], "a name is no markup"
    (choice,) = best_by_task(penalised, Bounds(), task="</script><img src=x>")
    assert choice.profile is not None
    best = max(choice.profile.bands, key=lambda band: band.hypervolume)
    assert best.low <= 1.0 <= best.high
    assert choice.profile.distinguishable
    (flat,) = best_by_task(penalised, Bounds(), task="other")
    assert flat.profile is not None
    assert not flat.profile.distinguishable
    file = penalised / "file"
    file.write_text("")
    with pytest.raises(BadInput, match="--figures: "):
        write_profiles(file / "x", [choice])
