"""model.onnx of cut networks of other families: free axes, padding, the same logits; and a wrong one is noticed."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from transformers import PreTrainedModel

from pipeline.export.checkpoint import load, write_checkpoint
from pipeline.export.onnx import OnnxNetwork, check_outputs, input_names, open_session, write_onnx
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.surgery import cut
from pipeline.study.records import Masks
from pipeline.task.batches import Split, encoder_inputs
from pipeline.trial.conformance.networks import tiny_rows
from tests.kit.abilities import NO_ONNX
from tests.kit.networks import network_cut_everywhere


def difference(path: Path, model: PreTrainedModel, rows: Split) -> float:
    return check_outputs(OnnxNetwork(open_session(path), model.config), model, rows)


def test_attention_of_a_loaded_checkpoint_is_written_as_its_products(
    make_model, make_split, tmp_path: Path
) -> None:
    """Its class is ours: the library's setter of the attention would leave it fused, with a search for NaN."""
    model, anatomy = make_model("bert", layers=2)
    (tmp_path / "cut").mkdir()
    write_checkpoint(tmp_path / "cut", model, anatomy, tokenizer_files={})
    loaded = load(tmp_path / "cut")
    write_onnx(tmp_path / "model.onnx", loaded)
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "Softmax" in kinds
    assert "IsNaN" not in kinds
    assert difference(tmp_path / "model.onnx", loaded, make_split("bert")) < 1e-4


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_a_cut_network_of_every_row(kind: str, tmp_path: Path) -> None:
    """The table of docs/guide/architectures.md."""
    model = network_cut_everywhere(kind)
    write_onnx(tmp_path / "model.onnx", model)
    assert (difference(tmp_path / "model.onnx", model, tiny_rows(kind)) < 1e-4) == (kind not in NO_ONNX)


LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in ("electra", "roberta")]  # ten seconds each


@pytest.mark.parametrize("kind", ["distilbert", *LONG])
def test_cut_networks_compute_the_same(kind, make_model, make_split, make_batch, tmp_path: Path) -> None:
    model, anatomy = make_model(kind, layers=4)
    masks = Masks.full(4, 4, 64)
    masks.heads[0, 1:] = masks.heads[1] = masks.neurons[2] = masks.neurons[1, 1:] = False
    masks.layers[3] = masks.heads[3] = masks.neurons[3] = False
    cut(model, anatomy, masks)
    path = tmp_path / "model.onnx"
    write_onnx(path, model)
    assert difference(path, model, make_split(kind)) < 1e-4
    assert model.config._attn_implementation == "sdpa"  # as it was
    assert input_names(model) == ("input_ids", "attention_mask") + ("token_type_ids",) * (kind == "electra")
    session = open_session(path)
    batch = encoder_inputs(make_batch(kind, rows=7, seed=3))
    with torch.no_grad():
        expected = model(**batch).logits
    (logits,) = session.run(None, {name: value.numpy() for name, value in batch.items()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        next(reversed(list(model.parameters()))).add_(1.0)
    with pytest.raises(RuntimeError, match="outputs differ by"):
        difference(path, model, make_split(kind))
