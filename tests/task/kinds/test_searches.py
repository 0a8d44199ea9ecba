"""A search of each kind of task, tiny and in this process: data by name, dense, constant, front, distillation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.study.store import Store
from pipeline.task.kinds import KINDS
from tests.kit.kinds import write_rows
from tests.kit.toy import QUICK_SPACE, prunefront_here, write_model

QUICK = QUICK_SPACE + "\n[learning_rate]\nvalue = 0.003\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_search_of_each_kind(inline: None, tmp_path: Path, model: Path, kind: str) -> None:
    data = write_rows(tmp_path / "data", kind)
    (tmp_path / "quick.toml").write_text(QUICK)
    found = prunefront_here(
        "search", "--data", data, "--kind", kind, "--max-length", "16", "--model", model, "--trials", "2",
        "--space", tmp_path / "quick.toml", "--store", tmp_path / "store", "--distill", "kd", "--json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-1500:]
    name = json.loads(found.stdout)["study"]
    study = Store(tmp_path / "store").study(name)
    spec, (_, labels) = study.read_spec(), study.read_validation()
    assert spec.metric_name in KINDS[kind].metrics
    assert len(labels) == spec.validation_rows
    assert spec.anchors.dense > spec.anchors.constant >= 0
    records = [study.read_record(number) for number in study.finished_numbers()]
    assert [record.state for record in records] == ["complete"] * 2
    for record in records:
        assert {len(point.predictions) for point in record.points} == {len(labels)}
