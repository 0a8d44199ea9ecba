"""Decoders that were cut write on as they do without a cache of keys and values, wherever attention is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pipeline.export.checkpoint import load, write_checkpoint
from pipeline.model.anatomy import read_anatomy
from pipeline.model.source import load_weights, save_weights
from pipeline.model.surgery import cut
from pipeline.study.records import BadInput
from pipeline.trial.conformance.networks import tiny_config

MIXED = {"max_window_layers": 2, "sliding_window": 4}


@pytest.mark.parametrize(
    ("kind", "gone", "changes"),
    [("gpt2", (0,), {}), ("llama", (0, 1), {}), ("qwen3", (0, 2), MIXED), ("qwen3", (1,), MIXED)],
)
def test_a_cache_changes_no_token(
    kind: str, gone: tuple[int, ...], changes: dict[str, Any], tmp_path: Path
) -> None:
    config = tiny_config(kind, layers=4, use_cache=True, **changes)
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    anatomy = read_anatomy(model)
    masks = anatomy.present
    masks.heads[list(gone)] = False
    masks.layers[3] = masks.heads[3] = masks.neurons[3] = False
    left = cut(model, anatomy, masks)
    words = torch.tensor([[5, 9, 11, 40, 7, 33], [0, 0, 0, 8, 70, 6]])  # the second is padded, on the left
    real = (words > 0).long()
    every = []
    for cached in (True, False):
        with torch.no_grad():
            every.append(
                model.generate(
                    words,
                    attention_mask=real,
                    max_new_tokens=8,
                    do_sample=False,
                    use_cache=cached,
                    eos_token_id=99,
                )
            )
    assert every[0].tolist() == every[1].tolist()
    write_checkpoint(tmp_path, model, cut(model, left, left.present), tokenizer_files={})
    auto = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True)
    for loaded in (load(tmp_path), auto):
        with torch.no_grad():
            written = loaded.generate(
                words, attention_mask=real, max_new_tokens=8, do_sample=False, eos_token_id=99
            )
        assert written.tolist() == every[0].tolist()
    assert len(set(every[0][:, 6:].flatten().tolist())) > 1


def test_tied_weights_are_kept_once_and_come_back_tied(tmp_path: Path) -> None:
    config = tiny_config("gpt2")
    one, other = (transformers.GPT2LMHeadModel(config) for _ in range(2))
    assert one.lm_head.weight is one.transformer.wte.weight
    save_weights(one, tmp_path / "weights")
    assert "lm_head.weight" not in load_file(tmp_path / "weights")
    assert "transformer.wte.weight" in load_file(tmp_path / "weights")
    load_weights(other, tmp_path / "weights")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert other.lm_head.weight is other.transformer.wte.weight
    tensors = load_file(tmp_path / "weights")
    save_file({name: tensor for name, tensor in tensors.items() if "ln_f" not in name}, tmp_path / "fewer")
    with pytest.raises(BadInput, match="of the"):
        load_weights(other, tmp_path / "fewer")
