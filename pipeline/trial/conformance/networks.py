"""Tiny networks of every known architecture, and rows for them: random, seeded, nothing downloaded."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.model.anatomy import Anatomy, find_architecture, read_anatomy
from pipeline.model.classes import classifier
from pipeline.model.copies import copied
from pipeline.model.image_inputs import image_shape, image_tokens
from pipeline.task.batches import Batch, Split
from pipeline.task.images import ImageSplit

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

LAYERS, HEADS, HEAD_SIZE, NEURONS, OUTPUTS = 3, 4, 8, 64, 3
VOCABULARY = 100
POSITIONS = 40
LONGEST = 24  # tokens of a row
FIRST_WORD = 5  # lower token numbers are special in one family or another
WIDTH = HEADS * HEAD_SIZE

# Networks that are copied, by what they are.
_BUILT: dict[tuple[object, ...], tuple[PreTrainedModel, Anatomy]] = {}

# One of each kind of layer: other families share a row, or differ in less.
STRUCTURES = (
    "bert",
    "distilbert",
    "modernbert",
    "deberta-v2",
    "mpnet",
    "nomic_bert",
    "qwen3",
    "gpt2",
    "dinov3_vit",
)

# What a family's configuration has beside, or in place of, the plain sizes. Heads in groups of two have half the size.
GROUPED = {"num_attention_heads": 2 * HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD_SIZE // 2}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = SPECIAL | {"use_cache": False}
MEAN, DEVIATION = (0.4, 0.5), (0.2, 0.3)  # of the channels
IMAGES = {"image_size": 12, "patch_size": 4, "num_channels": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"type_vocab_size": 2},
    "electra": {
        "type_vocab_size": 2,
        "embedding_size": WIDTH // 2,  # not the encoder's width, as in the real small one
    },
    "modernbert": SPECIAL | {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
    },
    "nomic_bert": {"type_vocab_size": 2},
    "eurobert": SPECIAL | GROUPED | {"mask_token_id": 3},
    "llama": DECODER | GROUPED,
    "qwen3": DECODER | GROUPED | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "gpt2": DECODER,
    "vit": IMAGES,
    "dinov3_vit": IMAGES | {"use_gated_mlp": True, "num_register_tokens": 2},
}


def tiny_config(
    model_type: str, *, layers: int = LAYERS, outputs: int = OUTPUTS, **changes: Any
) -> PreTrainedConfig:
    """Return the configuration of a network with 4 units of 8 features and 64 neurons a layer, 32 wide."""
    from transformers import AutoConfig

    sizes = {"hidden_size": WIDTH, "num_hidden_layers": layers, "num_attention_heads": HEADS}
    neurons = find_architecture(model_type).neurons
    shape = sizes | {neurons: NEURONS}
    config_class: Any = type(AutoConfig.for_model(model_type))
    names = config_class.attribute_map
    of_family = FAMILIES.get(model_type, {})
    if model_type not in FAMILIES and "type_vocab_size" in vars(config_class()):
        of_family = {"type_vocab_size": 1}
    if not IMAGES.keys() <= of_family.keys():
        of_family = {"max_position_embeddings": POSITIONS, "vocab_size": VOCABULARY} | of_family
    every = shape | of_family | changes
    config: PreTrainedConfig = config_class(
        num_labels=outputs, **{names.get(key, key): value for key, value in every.items()}
    )
    return config


def tiny_network(
    model_type: str = "bert", *, layers: int = LAYERS, outputs: int = OUTPUTS, seed: int = 0, **changes: Any
) -> tuple[PreTrainedModel, Anatomy]:
    """Return a new classifier in eval mode, and its Anatomy.

    All parameters are random, biases and LayerNorms too: a bias that is left out makes a difference. The library takes
    seven times as long to build a network as it takes to copy one: each is built once, and copied.
    """
    row = find_architecture(model_type)
    key = (model_type, row, layers, outputs, seed, repr(sorted(changes.items())))
    if key not in _BUILT:
        _BUILT[key] = _built(model_type, layers=layers, outputs=outputs, seed=seed, **changes)
    return copied(*_BUILT[key])


def _built(
    model_type: str, *, layers: int, outputs: int, seed: int, **changes: Any
) -> tuple[PreTrainedModel, Anatomy]:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        config = tiny_config(model_type, layers=layers, outputs=outputs, **changes)
        made: Any = classifier(config)._from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model: PreTrainedModel = made.eval()
    return model, read_anatomy(model)


def tiny_rows(
    model_type: str = "bert",
    *,
    rows: int = 12,
    outputs: int = OUTPUTS,
    seed: int = 0,
    regression: bool = False,
) -> Split:
    """Return tokenised rows of 3 to 24 tokens, or images, with random labels."""
    return replace(_drawn_rows(model_type, rows, outputs, seed, regression))


@cache
def _drawn_rows(model_type: str, rows: int, outputs: int, seed: int, regression: bool) -> Split:
    generator = np.random.default_rng(seed)
    config: Any = tiny_config(model_type)
    columns = {"id": pa.array([f"row-{row}" for row in range(rows)])}
    of_images = IMAGES.keys() <= FAMILIES.get(model_type, {}).keys()
    if of_images:
        shape = image_shape(config)
        pixels = generator.integers(0, 256, size=(rows, math.prod(shape)), dtype=np.uint8)
        columns["pixels"] = pa.FixedSizeListArray.from_arrays(pixels.ravel(), math.prod(shape))
    else:
        columns |= _tiny_words(config, rows, generator)
    if regression:
        columns["label"] = pa.array(generator.uniform(0, 5, size=rows), type=pa.float32())
    else:
        columns["label"] = pa.array(generator.integers(0, outputs, size=rows), type=pa.int64())
    if of_images:
        return ImageSplit(pa.table(columns), 0, shape, MEAN, DEVIATION, tokens=image_tokens(config))
    return Split(pa.table(columns), pad_token_id=config.pad_token_id)


def _tiny_words(config: Any, rows: int, generator: np.random.Generator) -> dict[str, pa.Array]:
    lengths = generator.integers(3, LONGEST + 1, size=rows)
    columns = {
        "input_ids": pa.array(
            [generator.integers(FIRST_WORD, VOCABULARY, size=length).tolist() for length in lengths],
            type=pa.list_(pa.int32()),
        ),
    }
    if getattr(config, "type_vocab_size", 1) == 2:
        columns["token_type_ids"] = pa.array(
            [[0] * (length // 2) + [1] * (length - length // 2) for length in lengths],
            type=pa.list_(pa.int8()),
        )
    return columns


def tiny_batch(model_type: str = "bert", *, rows: int = 6, outputs: int = OUTPUTS, seed: int = 0) -> Batch:
    """Return one batch whose rows differ in length: it has padding. Images are of one size."""
    batch = tiny_rows(model_type, rows=rows, outputs=outputs, seed=seed).collate(np.arange(rows))
    if "attention_mask" not in batch:
        return batch
    lengths = batch["attention_mask"].sum(dim=1)
    if lengths.min() == lengths.max():
        raise ValueError(f"Seed {seed} gave rows of one length; a batch for tests has padding.")
    return batch
