"""Masks made once per batch: a network computes with them what it does with its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.model.anatomy import find_architecture
from pipeline.model.architectures import ARCHITECTURES
from pipeline.task.attention_masks import LENGTH_MULTIPLE, with_mask
from pipeline.task.batches import MASK, batch_parts, encoder_inputs

TEXTS = [kind for kind in ARCHITECTURES if "vit" not in kind]


@pytest.mark.parametrize("architecture", TEXTS)
def test_a_network_computes_the_same_with_a_made_mask(architecture, make_model, make_split):
    model, anatomy = make_model(architecture)
    split, rows = make_split(architecture), np.arange(5)
    row = find_architecture(anatomy.architecture)
    longer = replace(split, multiple=LENGTH_MULTIPLE).collate(rows)
    with torch.no_grad():
        expected = model(**encoder_inputs(split.collate(rows))).logits
        made = with_mask(longer, dtype=torch.float32, additive=row.adds_mask)
        torch.testing.assert_close(model(**encoder_inputs(made)).logits, expected, rtol=1e-4, atol=1e-5)
    assert longer["input_ids"].shape[1] % LENGTH_MULTIPLE == 0
    assert (MASK in made) == row.adds_mask


def test_where_nothing_is_padded_there_is_no_mask(architecture, make_model, make_split):
    model, _ = make_model(architecture)
    split = make_split(architecture)
    alike = np.flatnonzero(split.lengths == split.lengths[0])
    batch = split.collate(alike)
    made = with_mask(batch, dtype=torch.float32, additive=False)
    assert "attention_mask" in encoder_inputs(batch)
    assert "attention_mask" not in encoder_inputs(made)
    with torch.no_grad():
        expected = model(**encoder_inputs(batch)).logits
        torch.testing.assert_close(model(**encoder_inputs(made)).logits, expected, rtol=1e-4, atol=1e-5)
    assert all("attention_mask" not in encoder_inputs(part) for part in batch_parts(made, 1))


@pytest.mark.parametrize(("dtype"), [torch.float32, torch.bfloat16, torch.float16])
def test_the_mask_by_hand(dtype: torch.dtype):
    batch = {"attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]), "labels": torch.zeros(2)}
    mask = with_mask(batch, dtype=dtype, additive=True)[MASK]
    least = torch.finfo(dtype).min
    assert mask.dtype == dtype
    assert mask.shape == (2, 1, 1, 3)
    assert mask.squeeze().tolist() == [[0, 0, least], [0, 0, 0]]


def test_lengths_stay_within_the_limit(make_split):
    split = make_split()
    limited = type(split)(split.table.replace_schema_metadata({"limit": "20"}), 0, multiple=16)
    rows = np.flatnonzero((split.lengths > 16) & (split.lengths <= 20))[:1]
    assert limited.limit == 20
    assert limited.collate(rows)["input_ids"].shape[1] == 20
    assert replace(split, multiple=16).collate(rows)["input_ids"].shape[1] == 32
