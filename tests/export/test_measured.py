"""What is measured of an exported network: scores on test rows that are there later, times of a quiet machine."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.export.card import _test_row
from pipeline.export.measured import score_on_test
from pipeline.export.reopen import reopen
from pipeline.export.to_mlflow import _values
from pipeline.model.source import build
from pipeline.model.source import tokenizer as tokenizer_of
from pipeline.study.store import LatencySetup, Store, Timed
from pipeline.study.store import TestScores as Scores  # pytest collects what begins with "Test"
from tests.kit.onetrial import NAME, Study


def test_test_rows_that_had_no_labels_are_measured_once_they_have_some(study: Study, tmp_path: Path) -> None:
    store, file = Store(study.store), study.task_file.parent / "test.tsv"
    labelled = file.read_text()
    lines = labelled.splitlines()
    rows = list(csv.DictReader(lines, delimiter="\t"))
    place = lines[0].split("\t").index("label")
    hidden = [
        "\t".join("-1" if at == place else cell for at, cell in enumerate(line.split("\t"))) for line in lines
    ]
    file.write_text("\n".join([lines[0], *hidden[1:]]) + "\n")
    opened = reopen(store, NAME)
    model, _ = build(opened.inputs.source, seed=3)
    weights = tmp_path / "weights"
    weights.write_bytes(b"of this network")
    assert score_on_test(opened, (0, 0), model, weights=weights).parts == {}

    file.write_text(labelled)
    scores = score_on_test(reopen(store, NAME), (0, 0), model, weights=weights)
    inputs = tokenizer_of(opened.inputs.source)(
        [row["sentence"] for row in rows], padding=True, truncation=True, max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        predicted = [model.config.id2label[int(number)] for number in model(**inputs).logits.argmax(dim=-1)]
    right = sum(each == row["label"] for each, row in zip(predicted, rows, strict=True))
    assert scores.parts["test"]["metric"] == pytest.approx(right / len(rows))
    assert scores.rows == {"test": len(rows)}

    file.write_text("no table at all\n")  # what has scores is not measured again
    assert score_on_test(reopen(store, NAME), (0, 0), model, weights=weights) == scores


@pytest.mark.parametrize(
    ("dense", "cell"),
    [
        (None, "not measured"),
        (Scores(-1, 0, "", {}, {}), "not measured"),
        (Scores(-1, 0, "", {"test": {"metric": 0.9}}, {"test": 7}), "not measured"),
        (Scores(-1, 0, "", {"test": {"metric": 0.9}}, {"test": 8}), "0.9000"),
    ],
)
def test_the_dense_network_stands_beside_on_the_same_rows_alone(dense: Scores | None, cell: str) -> None:
    facts: Any = SimpleNamespace(
        front=SimpleNamespace(spec=SimpleNamespace(metric_name="accuracy")),
        scores=Scores(0, 0, "", {"test": {"metric": 0.75}}, {"test": 8}),
        dense_scores=dense,
    )
    assert _test_row(facts, "test") == ("accuracy (test, 8 rows)", "0.7500", cell)


def test_mlflow_has_no_times_of_a_busy_machine() -> None:
    one, eight = (LatencySetup("cpu", 1, batch, 16) for batch in (1, 8))
    times = (Timed(one, 1.0, 0.1, 2.0, 1.0), Timed(eight, 5.0, 0.1, 9.0, 0.3))
    assert [each.disturbed for each in times] == [False, True]
    facts: Any = SimpleNamespace(
        scores=Scores(0, 0, "", {"test": {"metric": 0.75}}, {}), int8=(), times=times
    )
    assert _values(facts) == {"test/metric": 0.75, f"latency_ms/{one.shape}": 1.0}
