"""8-bit networks: the integers that are worked out by hand; real ones measured on the same rows; bounds are kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import pipeline
from pipeline.cli.app import run
from pipeline.export.export import Exported, export
from pipeline.export.int8 import check_kinds
from pipeline.export.int8.onnxruntime import calibration_rows, quantised_dynamic, quantised_static
from pipeline.export.int8.quantised import Fp32
from pipeline.export.int8.torchao import stored_bytes
from pipeline.export.onnx import OnnxNetwork, open_session
from pipeline.export.reopen import reopen
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.trial.latency import timing
from tests.kit.onetrial import NAME, Study

WORDS, WIDE, CLASSES = 100, 8, 3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)


class Small:
    """A mean of embeddings and one linear map: as onnx, with its tensors."""

    def __init__(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        self.path = path
        self.table = rng.normal(size=(WORDS, WIDE)).astype(np.float32)
        self.weight = rng.normal(size=(WIDE, CLASSES)).astype(np.float32)
        self.bias = rng.normal(size=CLASSES).astype(np.float32)
        nodes = [
            helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
            helper.make_node("ReduceMean", ["embedded"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["logits"]),
        ]
        tensors = [numpy_helper.from_array(getattr(self, name), name) for name in ("table", "weight", "bias")]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
            tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.save(model, path)

    def fp32(self, train: Any = None) -> Fp32:
        def forward(input_ids: torch.Tensor) -> None: ...

        model = SimpleNamespace(forward=forward, config=SimpleNamespace(), main_input_name="input_ids")
        return Fp32(cast("Any", model), self.path, train, threads=1)


def unsigned(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values rounded to the 256 steps between low and high, of which one is exactly 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    zero = np.round(-low / scale)
    return ((np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale).astype(np.float32)


def signed(weight: np.ndarray) -> np.ndarray:
    """Weights rounded to the 255 steps of each output channel."""
    scale = np.abs(weight).max(axis=0) / np.float32(127)
    return np.clip(np.round(weight / scale), -127, 127) * scale


def test_dynamic_integers_are_those_of_the_formula(tmp_path: Path) -> None:
    small = Small(tmp_path / "model.onnx")
    made = quantised_dynamic(small.fp32(), tmp_path)
    ids = torch.randint(0, WORDS, (4, 5), generator=torch.Generator().manual_seed(0))
    table = unsigned(small.table, small.table.min(), small.table.max())
    mean = table[ids.numpy()].mean(axis=1)
    expected = unsigned(mean, mean.min(), mean.max()) @ signed(small.weight) + small.bias
    found = made.network(input_ids=ids).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    exact = small.table[ids.numpy()].mean(axis=1) @ small.weight + small.bias
    np.testing.assert_allclose(made.fp32(input_ids=ids).logits.numpy(), exact, atol=1e-6)
    assert np.abs(found - exact).max() > 1e-3  # it is another network
    assert made.file is not None
    assert made.size_bytes == made.file.stat().st_size


def test_static_ranges_are_those_of_the_calibration_rows(tmp_path: Path, make_split) -> None:
    """Rows in use that go beyond what training rows showed are clipped to their range."""
    small = Small(tmp_path / "model.onnx")
    train = make_split("bert")
    seen = [train.collate(rows)["input_ids"].numpy() for rows in calibration_rows(train)]
    assert sorted(row for rows in calibration_rows(train) for row in rows) == list(range(len(train)))
    made = quantised_static(small.fp32(train), tmp_path)
    means = [small.table[ids].mean(axis=1) for ids in seen]
    low, high = min(m.min() for m in means), max(m.max() for m in means)
    ids = torch.tensor([[int(small.table[:, 0].argmax())] * 3, seen[0][0][:3].tolist()])
    table = unsigned(small.table, small.table.min(), small.table.max())
    mean = unsigned(table[ids.numpy()].mean(axis=1), low, high)
    product = mean @ signed(small.weight)
    logits = [small.table[each].mean(axis=1) @ small.weight for each in seen]
    expected = unsigned(product, min(x.min() for x in logits), max(x.max() for x in logits)) + small.bias
    found = made.network(input_ids=ids).logits.numpy()
    step = (max(x.max() for x in logits) - min(x.min() for x in logits)) / 255
    np.testing.assert_allclose(found, expected, atol=1.01 * step)  # a tie may round to either side


@pytest.fixture(scope="module")
def exported(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WHOLE_SECONDS", 0.1)
        return export(
            NAME, to=tmp_path_factory.mktemp("int8") / "model", store=made.store, knee=True, int8=True
        )


def test_both_kinds_are_measured_and_the_fastest_is_kept(exported: Exported, made: Study) -> None:
    forms = {form.kind: form for form in exported.facts.int8}
    assert set(forms) == {"dynamic", "static"}
    (kept,) = (form for form in forms.values() if form.kept)
    assert kept.times[0].ms == min(form.times[0].ms for form in forms.values())
    assert not (exported.folder / "model.onnx").exists()  # it was not asked for
    file = exported.folder / "model.int8.onnx"
    assert kept.size_bytes == file.stat().st_size
    opened = reopen(Store(made.store), NAME)
    model = pipeline.load(exported.folder)
    assert kept.fp32_validation == opened.inputs.evaluate(model, precision="fp32").metrics["metric"]
    level = {"dynamic": "basic", "static": "extended"}[kept.kind]
    again = OnnxNetwork(open_session(file, optimisation=level), model.config)
    for rows, score in ((opened.tests["test"], (kept.test or {})["test"]["metric"]), (None, kept.validation)):
        assert opened.inputs.evaluate(cast("Any", again), rows, precision="fp32").metrics["metric"] == score
    assert kept.loss == kept.fp32_validation - kept.validation
    for time, bench in zip(kept.times, (each.bench for each in exported.facts.times), strict=True):
        assert time.bench.shape == bench.shape
        assert time.ms > 0


def test_the_study_keeps_what_was_measured(exported: Exported, made: Study) -> None:
    kept = {each.kind: each for each in Store(made.store).study(NAME).int8.read()}
    assert set(kept) == {"dynamic", "static"}
    for form in exported.facts.int8:
        one = kept[form.kind]
        assert (one.trial, one.point) == (exported.facts.point.trial, exported.facts.point.point)
        assert (one.metric, one.fp32_metric) == (form.validation, form.fp32_validation)
        assert one.size_mb == form.size_bytes / 1e6
        assert one.ms == (None if form.times[0].disturbed else form.times[0].ms)


def test_the_card_and_the_record_have_it(exported: Exported) -> None:
    card = (exported.folder / "README.md").read_text()
    (kept,) = (form for form in exported.facts.int8 if form.kept)
    assert "## In 8 bits" in card
    assert (
        f"| **{kept.kind}** | {kept.validation:.4f} | {kept.validation - kept.fp32_validation:+.4f} |" in card
    )
    assert f"{kept.size_bytes / 1e6:.2f} MB" in card  # under 1 MB
    level = {"dynamic": "BASIC", "static": "EXTENDED"}[kept.kind]
    assert f"ORT_ENABLE_{level}\n" in card
    record = json.loads((exported.folder / "prunefront.json").read_text())
    assert [form["kind"] for form in record["int8"]] == ["dynamic", "static"]


def test_it_is_refused_beyond_the_bound(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quantiser that ruins the network: what is asked for holds for the 8-bit network, too."""
    from pipeline.export.int8 import kinds, onnxruntime

    def ruined(fp32: Fp32, folder: Path) -> Any:
        made = quantised_dynamic(fp32, folder)
        blank = onnx.load(made.file)
        for tensor in blank.graph.initializer:
            if tensor.name.endswith("_scale"):
                tensor.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(tensor), tensor.name))
        onnx.save(blank, made.file)
        return onnxruntime._opened(fp32, made.file, "basic")

    monkeypatch.setitem(
        kinds.KINDS, "dynamic", kinds.Kind("ruined", ("onnxruntime",), "onnx", ruined, "basic")
    )
    to = tmp_path / "model"
    before = Store(study.store).study(NAME).exports.read()
    call = ["export", NAME, "--store", str(study.store), "--to", str(to), "--max-drop", "0.05"]
    assert run([*call, "--int8-kind", "dynamic"]) == 2
    said = capsys.readouterr().err
    assert "No 8-bit network keeps" in said
    assert "dynamic has" in said
    assert not to.exists()
    assert Store(study.store).study(NAME).exports.read() == before  # and no test row was read


def test_unknown_and_missing_kinds_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"Did you mean static\?"):
        check_kinds(["statik"])
    monkeypatch.setattr("pipeline.export.int8.kinds.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'prunefront\[torchao\]'"):
        check_kinds(["torchao"])


def test_torchao_counts_integers_and_scales(exported: Exported, made: Study, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    from pipeline.export.int8.torchao import quantised_torchao

    model = pipeline.load(exported.folder)
    form = quantised_torchao(
        Fp32(model, None, reopen(Store(made.store), NAME).inputs.data.train, 1), tmp_path
    )
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    inside = sum(m.weight.numel() for m in linear)
    rows = sum(m.out_features for m in linear)
    whole = sum(p.numel() for p in model.parameters())
    # a byte a weight, and a scale of fp32 (with, at most, a zero point) a row
    assert inside + 4 * rows <= form.size_bytes - 4 * (whole - inside) <= inside + 9 * rows
    assert stored_bytes(model) == 4 * whole
    ids = torch.randint(5, int(model.config.vocab_size), (4, 6))
    with torch.inference_mode():
        exact, ours = (
            net(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for net in (model, form.network)
        )
    assert 0 < (exact - ours).abs().max() < 0.2 * exact.abs().max() + 0.05
