"""A network in onnxruntime and OpenVINO: the same logits, timed beside PyTorch, loaded by the card's own lines."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pipeline
from pipeline.cli.app import run
from pipeline.export.engines import ENGINES, check_engines
from pipeline.export.export import Exported, export
from pipeline.export.in_turns import TimeInTurns, speed_in_card, speed_said, time_beside
from pipeline.export.onnx import check_outputs, write_onnx
from pipeline.export.reopen import reopen
from pipeline.model.architectures import ARCHITECTURES
from pipeline.study.records import BadInput
from pipeline.study.store import LatencySetup, Store
from pipeline.task.batches import Split, encoder_inputs
from pipeline.trial.conformance.networks import tiny_rows
from pipeline.trial.latency import timing
from tests.kit.networks import network_cut_everywhere
from tests.kit.onetrial import NAME, Study

# Not imported to find out: OpenVINO reports each import to its makers, but where our code imports it.
with_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
BOTH = ["onnx", pytest.param("openvino", marks=with_openvino)]
BENCH = LatencySetup("this", 1, 2, 5)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)


@pytest.fixture(scope="module")
def exported(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WHOLE_SECONDS", 0.1)
        to = tmp_path_factory.mktemp("engines") / "model"
        both = find_spec("openvino") is not None
        return export(NAME, to=to, store=made.store, knee=True, onnx=True, openvino=both)


@pytest.mark.parametrize("name", BOTH)
def test_the_card_s_lines_compute_what_pytorch_does(exported: Exported, name: str) -> None:
    card = (exported.folder / "README.md").read_text()
    (code,) = re.findall(
        rf"```python\nimport {'onnxruntime' if name == 'onnx' else name}\n(.*?)```", card, re.S
    )
    model, tokenizer = pipeline.load(exported.folder), pipeline.load_tokenizer(exported.folder)
    package = __import__("onnxruntime") if name == "onnx" else sys.modules["openvino"]
    there = {"tokenizer": tokenizer, package.__name__: package}
    exec(code.replace("DIR", str(exported.folder)).replace("…", "the bright river"), there)
    with torch.no_grad():
        expected = model(**tokenizer(["the bright river"], return_tensors="pt")).logits
    np.testing.assert_allclose(there["logits"], expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", BOTH)
def test_times_are_beside_pytorch_at_the_study_s_shapes(exported: Exported, name: str) -> None:
    (made,) = (each for each in exported.facts.engines if each.name == name)
    assert made.difference < 1e-4
    assert [each.bench.shape for each in made.times] == [each.bench.shape for each in exported.facts.times]
    assert all(each.ms > 0 and each.fp32_ms > 0 for each in made.times)
    row = f"| {made.engine} | `{made.file}` | {made.difference:.1g} |"
    assert row in (exported.folder / "README.md").read_text()
    record = json.loads((exported.folder / "prunefront.json").read_text())
    assert made.file in [each["file"] for each in record["engines"]]


def test_what_is_said_of_a_time() -> None:
    slow, soon = (lambda ms=ms: time.sleep(ms / 1000) for ms in (20, 2))
    found = time_beside(soon, slow, BENCH, {})  # type: ignore[arg-type]
    assert found.ms >= 2
    assert found.fp32_ms >= 20
    assert found.speedup == found.fp32_ms / found.ms > 1
    told = TimeInTurns(BENCH, ms=2.0, spread_ms=0.1, fp32_ms=5.0, core_share=0.5)
    assert speed_said(told, "PyTorch") == "2.00 ms ?, 2.50 × as fast as PyTorch (5.00 ms)"
    assert speed_in_card(told) == "not measured: the machine was busy"
    assert speed_in_card(replace(told, core_share=1.0)) == "2.00 ms, 2.50 × as fast as fp32 (5.00 ms)"


@pytest.mark.parametrize("name", BOTH)
def test_another_network_is_noticed(exported: Exported, made: Study, name: str) -> None:
    folder, rows = exported.folder, reopen(Store(made.store), NAME).inputs.data.validation
    model: Any = pipeline.load(folder)
    network = ENGINES[name].open(folder / "model.onnx", folder, model.config, 1)
    assert check_outputs(network, model, rows) < 1e-4
    with torch.no_grad():  # a difference is a part of the largest output, where that is above 1
        model.get_submodule("classifier").bias.add_(3e-4 * max(1.0, largest_output(model, rows)))
    with pytest.raises(RuntimeError, match=r"outputs differ by 0\.000[23]"):
        check_outputs(network, model, rows)


def largest_output(model: Any, rows: Split) -> float:
    with torch.no_grad():
        return float(model(**encoder_inputs(rows.collate(np.arange(8)))).logits.abs().max())


@with_openvino
def test_openvino_reports_nothing_and_stays_in_its_folder(exported: Exported) -> None:
    assert sys.modules["openvino_telemetry"] is None
    assert {"openvino_model.xml", "openvino_model.bin"} <= {path.name for path in exported.folder.iterdir()}


@with_openvino
@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_a_cut_network_of_every_row_in_openvino(kind: str, tmp_path: Path) -> None:
    model = network_cut_everywhere(kind)
    write_onnx(tmp_path / "model.onnx", model)
    network = ENGINES["openvino"].open(tmp_path / "model.onnx", tmp_path, model.config, 1)
    assert check_outputs(network, model, tiny_rows(kind)) < 1e-4


def test_missing_packages_are_told_with_the_way_out(
    made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.export.engines.engine.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"--onnx needs onnx, onnxscript, onnxruntime, not installed here"):
        check_engines(["onnx"])
    to = tmp_path / "model"
    assert run(["export", NAME, "--store", str(made.store), "--to", str(to), "--openvino"]) == 2
    assert "pip install 'prunefront[openvino]'" in " ".join(capsys.readouterr().err.split())
    assert not to.exists()
