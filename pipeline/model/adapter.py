"""Adapters of PEFT (LoRA): read as data and merged into the model that they were trained on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # before the names of the base model's modules
# Settings that change how an adapter is added, beside those that `_scale` reads; falsy ones change nothing.
OTHER_KINDS = (
    "use_dora",
    "use_qalora",
    "megatron_config",
    "layer_replication",
    "trainable_token_indices",
    "alora_invocation_tokens",
)
MERGE = "Merge it with peft's merge_and_unload, save the result with save_pretrained, and give that folder."


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter as data: its settings, its tensors by the base model's names, and the base model's name."""

    folder: Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def base(self) -> str:
        """The model that it was trained on: a folder beside or below the adapter's, or as it is named."""
        name = str(self.settings["base_model_name_or_path"])
        beside = self.folder.parent / name
        return str(beside) if not Path(name).is_dir() and beside.is_dir() else name


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's folder.

    Raises:
        BadInput: it is no LoRA, or one whose sum with the base model is not known here.
        OSError, ValueError, SafetensorError: it cannot be read.
    """
    from safetensors.torch import load_file

    settings = json.loads((folder / CONFIG).read_text(encoding="utf-8-sig"))
    kind = str(settings.get("peft_type", "?")).upper()
    odd = [key for key in OTHER_KINDS if settings.get(key)]
    if kind != "LORA" or odd:
        raise BadInput(
            f"{folder} holds an adapter of kind {kind}{' with ' + ', '.join(odd) if odd else ''}; only a plain LoRA is "
            f"merged into its model here. {MERGE}"
        )
    if not settings.get("base_model_name_or_path"):
        raise BadInput(
            f"{folder / CONFIG} does not name the model that the adapter was trained on (base_model_name_or_path). "
            f"Write it there. Or: {MERGE[0].lower()}{MERGE[1:]}"
        )
    if not (folder / WEIGHTS).is_file():
        raise BadInput(
            f"{folder} has no {WEIGHTS}; weights are read from safetensors only. Save the adapter again with peft's "
            "save_pretrained."
        )
    tensors = {_plain(name): tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    return Adapter(folder, settings, tensors)


@torch.no_grad()
def merge(adapter: Adapter, model: PreTrainedModel) -> set[str]:
    """Add an adapter to the weights of its base model, in place; return the names of what it replaced whole.

    The sum is W + scale · B A for a map's weight, and the tensor itself for biases and modules that were saved whole.

    Raises:
        BadInput: the model has no place for some of it.
    """
    own = model.state_dict()
    replaced: set[str] = set()
    lost: list[str] = []
    for name, tensor in adapter.tensors.items():
        target, _, part = name.partition(".lora_")
        if part == "B.weight" and f"{target}.lora_A.weight" in adapter.tensors:
            continue  # with its A
        key = _place(own, f"{target}.weight" if part else name, model.base_model_prefix)
        other = adapter.tensors.get(f"{target}.lora_B.weight")
        if key is None or (part and (part != "A.weight" or other is None)):
            lost.append(name)
            continue
        change = tensor
        if part and other is not None:
            change = _scale(adapter.settings, target, rank=tensor.shape[0]) * (other @ tensor)
            change = change.T if adapter.settings.get("fan_in_fan_out") else change
        if change.shape != own[key].shape:
            if part or key.startswith(f"{model.base_model_prefix}."):
                lost.append(name)
            continue  # else the head of a task with other classes
        if part:
            own[key].add_(change)
        else:
            own[key].copy_(change)
            replaced.add(key)
    if lost or not adapter.tensors:
        raise BadInput(
            f"{adapter.base} has no place for {len(lost)} of the {len(adapter.tensors)} tensors of "
            f"{adapter.folder} ({', '.join(lost[:3])}). An adapter fits the model that it was trained "
            f"on. {MERGE}"
        )
    return replaced


def _plain(name: str) -> str:
    """Return a tensor's name without what peft puts around the base model's."""
    return re.sub(
        r"\.(default|modules_to_save|original_module|base_layer)(?=\.)", "", name.removeprefix(PREFIX)
    )


def _place(own: Mapping[str, Tensor], name: str, prefix: str) -> str | None:
    """Return the name of a tensor in a classifier; that of an adapter of the encoder alone has no prefix."""
    return next((each for each in (name, f"{prefix}.{name}") if each in own), None)


def _scale(settings: Mapping[str, Any], target: str, *, rank: int) -> float:
    """Return α / r, or α / √r of a rank-stabilised LoRA (arXiv 2312.03732); patterns give single modules another α."""
    alpha = settings.get("lora_alpha", rank)
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", target):
            alpha = value
            break
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)
