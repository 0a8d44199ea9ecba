"""Networks that were cut before they were given: read as they are, cut further, counted from where they stand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pipeline.export.checkpoint import load, write_checkpoint
from pipeline.model.builtin import word_pieces
from pipeline.model.earlier_cut import layout_of_pruned
from pipeline.model.heads import Head
from pipeline.model.resolve import check_model, classes_of, resolve_model
from pipeline.model.source import ModelSource, build, read_source, write_source
from pipeline.model.surgery import cut, masked
from pipeline.study.records import BadInput, Masks, OriginalSize

WORDS = ["the bright river of people and a tired story"]
LAYERS, HEADS, NEURONS = 4, 4, 64
LEFT = {0: (2, 64), 1: (0, 7), 3: (4, 0)}  # layer -> heads and neurons; layer 2 is gone


def resolve(folder: Path, *, classes: tuple[str, ...] = ("LABEL_0", "LABEL_1", "LABEL_2")) -> ModelSource:
    return resolve_model(str(folder), head=Head(classes), train_texts=[])


def tokenizer_files(folder: Path, *, pads: int = 0) -> dict[str, bytes]:
    pieces = [*word_pieces(WORDS * 4, size=100)]
    pieces[0], pieces[pads] = pieces[pads], pieces[0]  # [PAD] is where the network has it
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cut_masks() -> Masks:
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    masks = replace(
        masks, heads=masks.heads & False, neurons=masks.neurons & False, layers=masks.layers & False
    )
    for layer, (heads, neurons) in LEFT.items():
        masks.heads[layer, HEADS - heads :] = True  # not the first ones
        masks.neurons[layer, NEURONS - neurons :] = True
        masks.layers[layer] = True
    return masks


def exported(kind: str, make_model: Any, folder: Path) -> tuple[Any, Any]:
    """An exported folder, and the network that it holds, with its anatomy."""
    model, anatomy = make_model(kind, layers=LAYERS)
    anatomy = cut(model, anatomy, cut_masks())
    files = tokenizer_files(folder.parent / "tokenizer", pads=model.config.pad_token_id)
    folder.mkdir()
    write_checkpoint(folder, model, anatomy, tokenizer_files=files)
    return model, anatomy


def inputs(make_batch: Any, kind: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in make_batch(kind).items() if k not in ("labels", "rows")}


def test_an_exported_folder_is_a_model(
    architecture: str, make_model: Any, make_batch: Any, tmp_path: Path
) -> None:
    made, before = exported(architecture, make_model, tmp_path / "small")
    check_model(str(tmp_path / "small"))
    source = resolve(tmp_path / "small")
    assert source.head.order == (0, 1, 2)
    rows = inputs(make_batch, architecture)
    model, anatomy = build(source, seed=0)
    assert type(model).__module__.startswith("transformers.")
    with torch.no_grad():
        torch.testing.assert_close(model(**rows).logits, made(**rows).logits, rtol=0, atol=0)

    there = sum(p.numel() for p in made.parameters())
    layers = made.base_model.get_submodule(
        "transformer.layer" if architecture == "distilbert" else "encoder.layer"
    )
    in_layers = sum(p.numel() for p in layers.parameters())
    assert (anatomy.costs.encoder, anatomy.costs.model) == (in_layers, there)
    assert anatomy.costs.compression(anatomy.present) == 0.0
    assert (anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer) == (
        LAYERS,
        HEADS,
        NEURONS,
    )
    assert anatomy.present.heads.sum(axis=1).tolist() == [2, 0, 0, 4]
    assert anatomy.present.neurons.sum(axis=1).tolist() == [64, 7, 0, 0]
    assert anatomy.present.layers.tolist() == [True, True, False, True]
    # without prunefront.json it is the dense shape's
    first = OriginalSize(there - in_layers + before.costs.layer * 4, before.costs.layer * 4)
    assert source.original == first
    gone = 100 * (1 - in_layers / (4 * before.costs.layer))
    assert source.remarks == (
        f"The model was cut before: {gone:.1f} % of its first encoder is gone. Compression counts from what is there.",
    )

    write_source(source, tmp_path / "copy")
    again, _ = build(read_source(tmp_path / "copy"), seed=3)
    with torch.no_grad():
        torch.testing.assert_close(again(**rows).logits, made(**rows).logits, rtol=0, atol=0)


def test_it_is_cut_further_and_exported_again(make_model: Any, make_batch: Any, tmp_path: Path) -> None:
    exported("bert", make_model, tmp_path / "small")
    source = resolve(tmp_path / "small")
    model, anatomy = build(source, seed=0)
    masks = anatomy.present
    masks.heads[0, 0] = masks.neurons[1, 3] = False
    masks.heads[3, :] = False
    rows = inputs(make_batch, "bert")
    with torch.no_grad():
        with masked(model, anatomy, masks):
            expected = model(**rows).logits
        smaller = cut(model, anatomy, masks)
        torch.testing.assert_close(model(**rows).logits, expected, rtol=0, atol=1e-5)
    costs = smaller.costs
    # 5 heads of 3 (8 x 32 + 8) + 32 x 8, a neuron of 32 + 1 + 32, and the output bias of layer 3's attention
    gone = 5 * (3 * (8 * 32 + 8) + 32 * 8) + 65 + 32
    assert costs.compression(smaller.present) == pytest.approx(gone / costs.encoder)
    files = tokenizer_files(tmp_path / "more")
    (tmp_path / "smaller").mkdir()
    write_checkpoint(tmp_path / "smaller", model, smaller, tokenizer_files=files)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "smaller")(**rows).logits, expected, rtol=0, atol=1e-5)
    third, _ = build(resolve(tmp_path / "smaller"), seed=0)
    with torch.no_grad():
        torch.testing.assert_close(third(**rows).logits, expected, rtol=0, atol=1e-5)


def test_what_it_was_before_the_first_cut_is_read_from_its_record(make_model: Any, tmp_path: Path) -> None:
    exported("bert", make_model, tmp_path / "small")
    anchors = {"dense_parameters": 90_000, "dense_encoder_parameters": 80_000}
    record = tmp_path / "small" / "prunefront.json"
    record.write_text(json.dumps({"anchors": anchors}))
    assert resolve(tmp_path / "small").original == OriginalSize(90_000, 80_000)
    first = {"parameters": 190_000, "encoder_parameters": 180_000}
    record.write_text(json.dumps({"anchors": anchors, "original": first}))
    assert resolve(tmp_path / "small").original == OriginalSize(190_000, 180_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cut_format": 99}, "has format 99, and this prunefront knows"),
        ({"cut_layout": [{"layer": 0, "heads": 9, "neurons": 64}]}, "at most 4 heads and 64 neurons"),
        ({"cut_layout": [{"layer": 0, "heads": 2}]}, "cut_layout of config.json has not heads and neurons"),
        ({"cut_layout": [{"layer": 4, "heads": 2, "neurons": 64}]}, "layers are out of 4, in their order"),
        ({"cut_layout": [{"layer": at, "heads": 2, "neurons": 64} for at in (1, 0)]}, "in their order"),
        ({"model_type": "cut_gpt9"}, "cannot be read"),
    ],
)
def test_a_damaged_export_is_refused(
    make_model: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    exported("bert", make_model, tmp_path / "small")
    path = tmp_path / "small" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(BadInput, match=message):
        resolve(tmp_path / "small")


def test_an_export_with_weights_of_another_shape_is_refused(make_model: Any, tmp_path: Path) -> None:
    exported("bert", make_model, tmp_path / "small")
    path = tmp_path / "small" / "model.safetensors"
    weights = load_file(path)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    save_file(weights | {name: weights[name][:8].clone()}, path, metadata={"format": "pt"})
    with pytest.raises(BadInput, match="in other shapes"):
        resolve(tmp_path / "small")


def test_an_export_of_the_first_versions_has_no_depth(
    make_model: Any, make_batch: Any, tmp_path: Path
) -> None:
    """Its layers are numbered as they are left."""
    made, _ = exported("bert", make_model, tmp_path / "small")
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("cut_layers", "cut_row")}))
    model, anatomy = build(resolve(tmp_path / "small"), seed=0)
    rows = inputs(make_batch, "bert")
    with torch.no_grad():
        torch.testing.assert_close(model(**rows).logits, made(**rows).logits, rtol=0, atol=0)
    assert anatomy.present.heads.sum(axis=1).tolist() == [2, 0, 4]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_pruned_heads_of_transformers_4(kind: str, make_model: Any, make_batch: Any, tmp_path: Path) -> None:
    """Its folders have the dense config with `pruned_heads`, and narrow matrices."""
    folder = tmp_path / "pruned"
    dense, anatomy = make_model(kind)
    dense.save_pretrained(folder)
    tokenizer_files(folder)
    masks = anatomy.present
    masks.heads[0, [1, 3]] = masks.heads[2, 0] = False
    cut(dense, anatomy, masks)
    save_file(
        {k: v.contiguous() for k, v in dense.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pruned_heads": {"0": [1, 3], "2": [0]}}))
    source = resolve(folder)
    model, found = build(source, seed=0)
    rows = inputs(make_batch, kind)
    with torch.no_grad():
        torch.testing.assert_close(model(**rows).logits, dense(**rows).logits, rtol=0, atol=0)
    assert found.present.heads.sum(axis=1).tolist() == [2, 4, 3]
    assert source.original is not None
    assert source.original.encoder_parameters == anatomy.costs.encoder
    assert found.costs.encoder == anatomy.costs.encoder - 3 * anatomy.costs.head
    assert classes_of(str(folder)) == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_heads_that_share_a_table_keep_their_numbers() -> None:
    config = transformers.MPNetConfig(num_hidden_layers=2, num_attention_heads=4, intermediate_size=8)
    assert layout_of_pruned(config, {"0": [1]}) == [
        {"layer": 0, "heads": 3, "neurons": 8, "kept_heads": [0, 2, 3]},
        {"layer": 1, "heads": 4, "neurons": 8, "kept_heads": [0, 1, 2, 3]},
    ]


def test_every_unit_that_is_there_has_a_number(make_model: Any, tmp_path: Path) -> None:
    exported("bert", make_model, tmp_path / "small")
    _, anatomy = build(resolve(tmp_path / "small"), seed=0)
    assert [parts.index for parts in anatomy.layers] == [0, 1, 3]
    assert [parts.heads.tolist() for parts in anatomy.layers] == [[0, 1], [], [0, 1, 2, 3]]
    np.testing.assert_array_equal(anatomy.layers[1].neurons, np.arange(7))
