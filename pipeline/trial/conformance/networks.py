"""Tiny networks of every known architecture, and rows for them: random, seeded, nothing downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.model.anatomy import Anatomy, read_anatomy
from pipeline.task.batches import Batch, Split

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

LAYERS, HEADS, HEAD_SIZE, NEURONS, OUTPUTS = 3, 4, 8, 64, 3
VOCABULARY = 100
POSITIONS = 40
LONGEST = 24  # tokens of a row
FIRST_WORD = 5  # lower token numbers are special in one family or another
TWO_SEGMENTS = ("bert", "electra")  # families with two token types


def tiny_config(model_type: str, *, layers: int = LAYERS, outputs: int = OUTPUTS) -> PreTrainedConfig:
    """Return the configuration of a network with 4 heads of 8 features and 64 neurons a layer, 32 wide."""
    from transformers import AutoConfig

    width = HEADS * HEAD_SIZE
    shape: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": NEURONS,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "type_vocab_size": 2 if model_type in TWO_SEGMENTS else 1,
    }
    if model_type == "distilbert":
        shape = {"dim": width, "hidden_dim": NEURONS, "n_layers": layers, "n_heads": HEADS}
    if model_type == "electra":
        shape["embedding_size"] = width // 2  # not the encoder's width, as in the real small one
    return AutoConfig.for_model(
        model_type,
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        num_labels=outputs,
        **shape,
    )


def tiny_network(
    model_type: str = "bert", *, layers: int = LAYERS, outputs: int = OUTPUTS, seed: int = 0
) -> tuple[PreTrainedModel, Anatomy]:
    """Return a new classifier in eval mode, and its Anatomy.

    All parameters are random, biases and LayerNorms too: a bias that is left out makes a difference.
    """
    from transformers import AutoModelForSequenceClassification

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classes: Any = AutoModelForSequenceClassification  # without types
        model = classes.from_config(tiny_config(model_type, layers=layers, outputs=outputs))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.eval()
    return model, read_anatomy(model)


def tiny_rows(
    model_type: str = "bert",
    *,
    rows: int = 12,
    outputs: int = OUTPUTS,
    seed: int = 0,
    regression: bool = False,
) -> Split:
    """Return tokenised rows of 3 to 24 tokens with random labels."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, LONGEST + 1, size=rows)
    columns = {
        "id": pa.array([f"row-{row}" for row in range(rows)]),
        "input_ids": pa.array(
            [generator.integers(FIRST_WORD, VOCABULARY, size=length).tolist() for length in lengths],
            type=pa.list_(pa.int32()),
        ),
    }
    if model_type in TWO_SEGMENTS:
        columns["token_type_ids"] = pa.array(
            [[0] * (length // 2) + [1] * (length - length // 2) for length in lengths],
            type=pa.list_(pa.int8()),
        )
    if regression:
        columns["label"] = pa.array(generator.uniform(0, 5, size=rows), type=pa.float32())
    else:
        columns["label"] = pa.array(generator.integers(0, outputs, size=rows), type=pa.int64())
    return Split(pa.table(columns), pad_token_id=tiny_config(model_type).pad_token_id)


def tiny_batch(model_type: str = "bert", *, rows: int = 6, outputs: int = OUTPUTS, seed: int = 0) -> Batch:
    """Return one batch whose rows differ in length: it has padding."""
    batch = tiny_rows(model_type, rows=rows, outputs=outputs, seed=seed).collate(np.arange(rows))
    lengths = batch["attention_mask"].sum(dim=1)
    if lengths.min() == lengths.max():
        raise ValueError(f"Seed {seed} gave rows of one length; a batch for tests has padding.")
    return batch
