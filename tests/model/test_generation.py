"""Decoders that were cut write on as they do without a cache of keys and values, wherever attention is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from pipeline.model.anatomy import read_anatomy
from pipeline.model.surgery import cut
from pipeline.trial.conformance.networks import tiny_config

MIXED = {"max_window_layers": 2, "sliding_window": 4}


@pytest.mark.parametrize(
    ("kind", "gone", "changes"),
    [("gpt2", (0,), {}), ("llama", (0, 1), {}), ("qwen3", (0, 2), MIXED), ("qwen3", (1,), MIXED)],
)
def test_a_cache_changes_no_token(kind: str, gone: tuple[int, ...], changes: dict[str, Any]) -> None:
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
    cut(model, anatomy, masks)
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
    assert len(set(every[0][:, 6:].flatten().tolist())) > 1
