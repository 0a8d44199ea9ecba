"""What MLflow keeps: hand-made numbers, the same values from the same record, nothing that MLflow refuses."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from pipeline.driver.tracking import published
from pipeline.driver.tracking.published import BY_PERCENT
from pipeline.driver.tracking.values import Value
from pipeline.fronts.front import front_of
from pipeline.study.records import HistoryRow, OriginalSize, StudySpec
from pipeline.study.store import DataFacts
from tests.kit.tracking import SPEC, record, stored, trials

START = 1_700_000_000_000


def by_key(values: list[Value]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for value in values:
        found.setdefault(value.key, []).append((value.step, value.value))
    return found


def test_a_trials_values_by_hand() -> None:
    one = record(0, (0.88, 0.0), (0.7, 0.5), (0.15, 0.996), recovered=(0.123456789, 0.25))
    found = by_key(published.trial_values(one, start=START))
    assert found["metric"] == [(0, 0.123457)]  # six digits
    assert found["compression"] == [(0, 0.25)]
    assert found["parameters"] == [(0, 950.0)]  # 200 + 750
    assert found["macs"] == [(0, 3750.0)]
    assert found["score/f1"] == [(0, 0.0617284)]
    assert found["training/train_loss"] == [(1, 0.7), (2, 0.5), (3, 0.4)]
    assert found["training/epoch"] == [(1, 1.0), (2, 1.5), (3, 2.0)]
    assert found["unit_norm/ffn.0"] == [(1, 1.5), (2, 1.25)]
    groups = sorted({name.partition("/")[0] for name in found if "/" in name})
    assert groups[-2:] == ["training", "unit_norm"], "the charts of norms come last"
    assert found[BY_PERCENT["compression"]] == [(0, 0.88), (50, 0.7), (100, 0.15)]
    assert found["epochs"] == [(0, 2.0)]
    assert found["seconds"] == [(0, 12.5)]
    assert "latency_ms" not in found  # not measured
    assert "score/metric" not in found


def test_values_are_as_old_as_what_they_tell() -> None:
    when = {
        (v.key, v.step): v.milliseconds - START
        for v in published.trial_values(record(0, (0.8, 0.0)), start=START)
    }
    assert when["training/epoch", 1] == 6250  # one of two epochs in 12.5 s
    assert when["training/epoch", 3] == when["metric", 0] == 12_500


def test_big_counts_keep_all_digits() -> None:
    one = record(0, recovered=(0.8, 0.5))
    assert one.recovered is not None
    big = replace(one.recovered, measurement=replace(one.recovered.measurement, macs=2**40 + 1))
    found = by_key(published.trial_values(replace(one, points=(big,)), start=START))
    assert found["macs"] == [(0, float(2**40 + 1))]


def test_the_curve_is_the_last_rounds_and_a_percent_has_one_metric() -> None:
    one = record(0, (0.9, 0.0), (0.8, 0.101), (0.7, 0.104), recovered=(0.6, 0.2))
    again = tuple(replace(point, round=1) for point in one.points)
    first = record(1, (0.5, 0.0), (0.4, 0.9))
    both = replace(one, points=(*first.points[:-1], *again))
    assert by_key(published.trial_values(both, start=START))[BY_PERCENT["compression"]] == [
        (0, 0.9),
        (10, 0.8),
    ]


def test_a_failed_trial_has_no_metric_and_nothing_that_is_no_number() -> None:
    failed = record(2, state="failed", reason="the loss is not a number")
    found = by_key(published.trial_values(failed, start=START))
    assert set(found) == {"epochs", "seconds", "training/epoch"}  # its loss is NaN, its penalty infinite
    assert all(math.isfinite(value) for steps in found.values() for _, value in steps)


def test_a_trial_that_trained_nothing_has_values() -> None:
    bare = replace(
        record(0, state="failed"), epochs=0.0, history=(HistoryRow("tune", 0, 0.0, {"train_loss": 1.0}),)
    )
    assert by_key(published.trial_values(bare, start=START))["training/train_loss"] == [(1, 1.0)]


def test_parameters_and_tags_are_short_texts() -> None:
    one = record(7, reason="x" * 5000)
    assert published.trial_params(one)["penalty_strength"] == "0.0123457"
    assert published.trial_params(one)["score_per_parameter"] == "False"
    tags = published.trial_tags(one, study="toy-snip")
    assert tags[published.TRIAL] == "7"
    assert tags[published.REASON] == "x" * 999 + "…"
    assert tags["mlflow.source.git.commit"] == "a80c113"
    assert tags["commit"] == "a80c113+"
    assert published.REASON not in published.trial_tags(record(8), study="toy-snip")


@pytest.mark.parametrize("name", [field.name for field in fields(StudySpec)])
def test_every_part_of_a_spec_is_in_its_fingerprint(name: str) -> None:
    value = getattr(SPEC, name)
    if isinstance(value, str):
        other: object = value + "x"
    elif isinstance(value, int):
        other = value + 1
    else:
        other = replace(value, dense=value.dense + 1e-9)
    assert published.fingerprint(replace(SPEC, **{name: other})) != published.fingerprint(SPEC)  # type: ignore[arg-type]


def test_a_studys_parameters_hold_its_dense_anchor() -> None:
    found = published.study_params(SPEC)
    assert found["task"] == "glue/toy"
    assert found["dense_parameters"] == "1200"
    assert found["dense_learning_rate"] == "0.0005"
    assert not {"space_toml", "name", "dense", "constant"} & set(found)
    assert by_key(published.study_values(SPEC, milliseconds=0)) == {
        "dense_metric": [(0, 0.9)],
        "constant_metric": [(0, 0.1)],
    }


def test_a_front_by_hand(tmp_path: Path) -> None:
    found = front_of(stored(tmp_path, trials()))
    values = by_key(published.front_values(found, milliseconds=0))
    assert values["front_size"] == [(6, 6.0)]
    assert values["metric_at_50_percent"] == [(6, 0.8)]
    assert values["hypervolume"] == [(6, pytest.approx(0.1875 + 0.175 + 0.125 + 0.03 + 0.005))]
    assert values["trials"] == [(6, 6.0)]
    assert values["trials_failed"] == values["trials_stopped"] == [(6, 1.0)]
    table = published.front_table(found)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["compression"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 0.9, 1.0]
    assert [row["trial"] for row in rows] == [1, 0, 1, 1, 5, 0]
    assert rows[1]["drop"] == 0.05
    assert rows[3]["threshold"] == 0.1  # the curve point's own
    assert "latency_ms" not in table["columns"]  # empty in all rows
    assert table["columns"][:3] == ["compression", "metric", "drop"]


def test_an_empty_front_has_no_metric_at_half(tmp_path: Path) -> None:
    found = front_of(stored(tmp_path, [record(0, state="failed", reason="r")]))
    assert "metric_at_50_percent" not in by_key(published.front_values(found, milliseconds=0))
    assert published.front_table(found)["data"] == []


def test_the_curve_table_counts_what_is_left() -> None:
    one = record(0, (0.88, 0.0), (math.nan, 0.5))
    table = published.curve_table(one)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    masks = one.points[1].masks
    assert rows[1]["heads"] == sum(bool(head) for layer in masks.heads for head in layer)
    assert rows[1]["ffn_blocks"] == sum(any(layer) for layer in masks.neurons.tolist())
    assert rows[1]["metric"] is None
    assert [row["kind"] for row in rows] == ["curve", "curve", "recovered"]
    json.dumps(table, allow_nan=False)


def test_rows_that_two_parts_share_are_tags() -> None:
    data = DataFacts(rows={"train": 80, "test": 9}, shared={"validation+train": 3}, cut={"train": 0})
    assert published.data_tags(data) == {
        "data/rows_train": "80",
        "data/rows_test": "9",
        "data/shared_validation_train": "3",
        "data/cut_train": "0",
    }
    before = published.data_tags(replace(data, rows={}, shared={}, cut={}, original=OriginalSize(9, 7, 5, 2)))
    names = ("parameters", "encoder_parameters", "tokens", "trimmed")
    assert before == dict(zip((f"model/before/{name}" for name in names), "9752", strict=True))
