"""A plain folder: a uniform network in the library's own configuration, which loads without anybody's code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from pipeline.export.checkpoint.writing import (
    CONFIG,
    VOLATILE,
    WEIGHTS,
    check_no_hooks,
    write_tokenizer,
)
from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.earlier_cut import LAYOUT
from pipeline.model.modeling_cut import library_class
from pipeline.model.silence import quiet
from pipeline.model.source import attention_of, weights_of
from pipeline.study.records import Masks
from pipeline.trial.curve import is_uniform

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def why_not_plain(masks: Masks, config: Mapping[str, Any]) -> str | None:
    """Return why the library's configuration cannot describe a network, as a clause; None if it can.

    Args:
        masks: of the network.
        config: config.json of the dense model.
    """
    where = find_architecture(str(config["model_type"]))
    if where.own_head:
        return f"the library has no classifier of a {config['model_type']}"
    if not is_uniform(masks, fewer_heads=where.plain_heads):
        some = masks.layers.any() and (masks.heads[masks.layers].sum(axis=1) < masks.heads.shape[1]).any()
        if some and not where.plain_heads:
            return f"the configuration of a {config['model_type']} takes no fewer heads of the same size"
        return "its layers keep different numbers of heads or neurons"
    if where.fixed_pattern:
        types, kept = list(config["layer_types"]), np.flatnonzero(masks.layers)
        if not masks.layers[0] or [types[layer] for layer in kept] != types[: len(kept)]:
            return "types of layers follow from their places, and those that are left stand in another order"
    return None


def write_plain(
    folder: Path, model: PreTrainedModel, anatomy: Anatomy, *, tokenizer_files: Mapping[str, bytes]
) -> None:
    """Write a uniform network into an empty folder, as `save_pretrained` of the library does.

    Args:
        folder: see `whole_folder` for one that appears only when it is whole.
        model: a sequence classifier, without hooks, of which `why_not_plain` says nothing.
        anatomy: its own.
        tokenizer_files: their bytes by name.
    """
    from safetensors.torch import save_file
    from transformers.core_model_loading import revert_weight_conversion

    check_no_hooks(model)
    write_tokenizer(folder, tokenizer_files)
    config: Any = model.config
    where, names = find_architecture(anatomy.architecture), type(config).attribute_map
    every = json.loads(config.to_json_string(use_diff=False))
    kept = {key: value for key, value in every.items() if key not in (*VOLATILE, LAYOUT)}
    first = anatomy.layers[0]
    sizes = {"num_hidden_layers": len(anatomy.layers), where.neurons: len(first.neurons)}
    if len(first.heads) < anatomy.heads_per_layer:
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        group = anatomy.head_size // size
        sizes |= {"num_attention_heads": len(first.heads) * group, "head_dim": size}
        sizes |= {where.units: len(first.heads)}
    written = {names.get(key, key): value for key, value in sizes.items()}
    classes = {"model_type": anatomy.architecture, "architectures": [type(model).__name__]}
    (folder / CONFIG).write_text(json.dumps(kept | written | classes, indent=2, sort_keys=True) + "\n")
    # names as in published files, which all versions of the library read
    named = revert_weight_conversion(model, weights_of(model))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def load_plain(folder: Path) -> PreTrainedModel:
    """Load what `write_plain` wrote by the library alone; nothing of it may be missing or left over.

    Raises:
        RuntimeError: the library built another network.
    """
    with quiet():
        network: Any = library_class(json.loads((folder / CONFIG).read_text())["architectures"][0])
        model, found = network.from_pretrained(
            folder, output_loading_info=True, dtype=torch.float32, attn_implementation=attention_of(network)
        )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found[kind]:
            raise RuntimeError(f"A plain folder is the network that was cut; of this one there are {kind}.")
    return cast("PreTrainedModel", model.eval())
