"""LoRA adapters: merged into their model, by hand-computed sums; refused where the sum is another one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from pipeline.model.builtin import word_pieces
from pipeline.model.heads import Head
from pipeline.model.resolve import check_model, classes_of, resolve_model
from pipeline.model.source import ModelSource, build
from pipeline.study.records import BadInput

QUERY = "bert.encoder.layer.0.attention.self.query"
SETTINGS = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["query"], "task_type": "SEQ_CLS"}


@pytest.fixture
def base(make_model: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    make_model("bert")[0].bert.save_pretrained(folder)  # an encoder without a head
    vocabulary = word_pieces(["the bright river of people and a tired story"] * 4, size=100)
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    return folder


def adapter(folder: Path, tensors: dict[str, torch.Tensor], **settings: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        json.dumps({**SETTINGS, "base_model_name_or_path": "base", **settings})
    )
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def lora(name: str = QUERY, *, rank: int = 2, wide: int = 32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"{name}.lora_A.weight": torch.randn(rank, wide, generator=generator),
        f"{name}.lora_B.weight": torch.randn(wide, rank, generator=generator),
    }


def resolve(folder: Path, *, classes: tuple[str, ...] = ("a", "b")) -> ModelSource:
    return resolve_model(str(folder), head=Head(classes), train_texts=[])


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 3.0),
        ({"use_rslora": True}, 6 / math.sqrt(2)),
        ({"alpha_pattern": {"query": 2}}, 1.0),
        ({"alpha_pattern": {"key": 2}}, 3.0),
    ],
)
def test_it_is_added_to_the_weights(
    base: Path, tmp_path: Path, settings: dict[str, Any], scale: float
) -> None:
    parts = lora()
    source = resolve(adapter(tmp_path / "tuned", parts, **settings))
    plain = resolve(base)
    a, b = parts[f"{QUERY}.lora_A.weight"], parts[f"{QUERY}.lora_B.weight"]
    expected = torch.tensor(plain.weights[f"{QUERY}.weight"]) + scale * torch.einsum("or,ri->oi", b, a)
    torch.testing.assert_close(torch.tensor(source.weights[f"{QUERY}.weight"]), expected)
    others = {name for name in plain.weights if (plain.weights[name] == source.weights[name]).all()}
    assert {*plain.weights} - others == {f"{QUERY}.weight"}
    assert source.fingerprint != plain.fingerprint
    assert source.remarks == (f"The adapter in tuned is merged into {base}.",)
    check_model(str(tmp_path / "tuned"))


def test_modules_that_were_saved_whole_and_biases_replace_those_of_the_model(
    base: Path, tmp_path: Path
) -> None:
    head = {"classifier.weight": torch.ones(2, 32), "classifier.bias": torch.tensor([1.0, 2.0])}
    more = {"bert.encoder.layer.1.output.dense.bias": torch.full((32,), 7.0)}
    renamed = {name.replace("classifier", "classifier.modules_to_save"): each for name, each in head.items()}
    source = resolve(adapter(tmp_path / "tuned", lora() | renamed | more, bias="all"))
    assert source.weights["classifier.bias"].tolist() == [1.0, 2.0]
    assert source.weights["bert.encoder.layer.1.output.dense.bias"].tolist() == [7.0] * 32
    assert "no names and are taken in the task's order" in source.remarks[1]
    model, _ = build(source, seed=0)
    assert model.classifier.weight.eq(1).all()
    # of a task with other classes the head starts anew
    other = resolve(tmp_path / "tuned", classes=("a", "b", "c"))
    assert "classifier.weight" not in other.weights


def test_an_adapter_of_the_encoder_alone_has_its_names(base: Path, tmp_path: Path) -> None:
    parts = lora(QUERY.removeprefix("bert."))
    source = resolve(adapter(tmp_path / "tuned", parts, task_type="FEATURE_EXTRACTION"))
    assert (source.weights[f"{QUERY}.weight"] != resolve(base).weights[f"{QUERY}.weight"]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, r"of kind LORA with use_dora; .*Merge it with peft's merge_and_unload"),
        ({"peft_type": "IA3"}, r"of kind IA3; .*Merge it"),
        ({"base_model_name_or_path": None}, r"does not name the model .*base_model_name_or_path"),
        ({"base_model_name_or_path": "nobody/nothing"}, "nobody/nothing"),
    ],
)
def test_other_adapters_are_refused_with_the_way_out(
    base: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    folder = adapter(tmp_path / "tuned", lora(), **settings)
    with pytest.raises(BadInput, match=message):
        resolve(folder)
    with pytest.raises(BadInput, match=message):
        check_model(str(folder))


@pytest.mark.parametrize(
    "tensors",
    [
        lora("bert.encoder.layer.9.attention.self.query"),
        lora(wide=16),
        {"bert.embeddings.word_embeddings.lora_embedding_A": torch.ones(2, 100)},
        lora() | {f"{QUERY}.lora_magnitude_vector": torch.ones(32)},
        lora() | {f"{QUERY}.lora_B.bias": torch.ones(32)},
        {f"{QUERY}.lora_B.weight": torch.ones(32, 2)},
        {},
    ],
    ids=["a layer more", "narrower", "embeddings", "dora", "bias of B", "no A", "empty"],
)
def test_what_has_no_place_is_refused(base: Path, tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(BadInput, match="An adapter fits the model that it was trained on"):
        resolve(adapter(tmp_path / "tuned", tensors))


def test_the_classes_of_an_adapter_are_not_known(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not name its classes"):
        classes_of(str(adapter(tmp_path / "tuned", lora())))
