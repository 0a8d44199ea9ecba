"""Resolve a model's name to a ModelSource: a hub name, a folder, or the built-in model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.model.adapter import MERGE, Adapter, merge, read_adapter
from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.builtin import built_in
from pipeline.model.completeness import (
    check_all_is_read,
    check_encoder_is_whole,
    check_finite,
)
from pipeline.model.earlier_cut import (
    LAYOUT,
    PRUNED,
    anatomy_as_given,
    dense_entries,
    layout_of_pruned,
    network_class,
    original_size,
    was_cut,
)
from pipeline.model.folder import (
    ADAPTER,
    BUILTINS,
    check_files,
    check_sizes,
    encoder_folder,
    find_folder,
    has_vocabulary,
    is_adapter,
    overrides,
    read_config,
    readable,
)
from pipeline.model.head import HeadMatch, fit_head, match_head, of_whole_network, output_layer, output_names
from pipeline.model.heads import HEADS, IMAGE_CLASSIFIER, Head
from pipeline.model.pooling import pooling_of
from pipeline.model.preprocessor import files_of, fit, key_of, read_preprocessor
from pipeline.model.silence import quiet
from pipeline.model.source import NO_HEAD, ModelSource, Weights, attention_of, weights_of
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from pipeline.model.preprocessor import Preprocessor

# Written by the library that saved a configuration; no properties of the network.
VOLATILE_CONFIG = ("transformers_version", "_name_or_path")


def resolve_model(
    name: str,
    *,
    head: Head,
    train_texts: Sequence[str],
    trust_remote_code: bool = False,
) -> ModelSource:
    """Read a model from the hub or a folder, or make the built-in one. Called by the driver, once.

    Args:
        name: a hub name, a folder, or one of `BUILTINS`.
        head: what stands on the encoder.
        train_texts: what a built-in model's vocabulary is learned from; of images, their longer sides in pixels.
        trust_remote_code: for the tokenizer; the network's code is always the library's own, since a cut
            needs to know it.

    Raises:
        BadInput: if the model is missing, unreachable, of an unknown architecture, or has no safetensors.
    """
    if name in BUILTINS:
        config, made = built_in(name, head.network, train_texts, head.settings)
        return _source(name, config, {}, made, network=head.network, commit=None)
    _check_builtin(name)
    return _pretrained(name, head, trust_remote_code=trust_remote_code)


def check_model(name: str) -> None:
    """Check a model's name, files and architecture as `resolve_model` does.

    Raises:
        BadInput: as `resolve_model`.
    """
    if name in BUILTINS:
        return
    _check_builtin(name)
    with readable(name):
        folder, _ = _find(name)
        if is_adapter(folder):
            folder = _base_of(read_adapter(folder))
        check_files(folder)
        config = read_config(folder)
        with quiet():
            _configuration(folder, config, {})


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes that a model's own head knows, in the order of its outputs.

    Raises:
        BadInput: it is the built-in model, which has none, or its configuration cannot be read.
    """
    if name in BUILTINS:
        raise BadInput(
            f"{name} is not fine-tuned, and rows without labels are read by a network that is. Give a "
            "fine-tuned model by --model."
        )
    _check_builtin(name)
    with readable(name):
        folder, _ = _find(name)
        if is_adapter(folder):
            raise BadInput(
                f"{name} is an adapter, which does not name its classes. Rows without labels get the "
                "classes of a model's own head. Merge it with peft's merge_and_unload, and name them "
                "in id2label of the result."
            )
        return tuple(output_names(read_config(folder)))


def _check_builtin(name: str) -> None:
    if name.startswith("builtin/"):
        raise BadInput(f"There is no built-in model {name}. There are {', '.join(BUILTINS)}.")


def _pretrained(name: str, head: Head, *, trust_remote_code: bool) -> ModelSource:
    with readable(name):
        folder, commit = _find(name)
        adapter = read_adapter(folder) if is_adapter(folder) else None
        place = folder if adapter is None else _base_of(adapter)
        images = head.network == IMAGE_CLASSIFIER
        check_files(place, images=images)
        own = read_config(place)
        with quiet():
            pooling = {} if HEADS[head.network].layer else pooling_of(find_folder(name)[0])
            config = _configuration(place, own, head.settings | pooling)
            check_sizes(name, config)
            model, info = _network(place, config, head.network)
            brought = folder if has_vocabulary(folder) else place
            alone = brought != place or was_cut(own)
            made = read_preprocessor(
                name, brought, config, head.network, alone=alone, trusted=trust_remote_code
            )
        anatomy = anatomy_as_given(model)
    fresh, absent = (
        {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])},
        info["missing_keys"],
    )
    remarks = [*fit(name, model.config, made)]
    if adapter is not None:
        replaced = merge(adapter, model)
        fresh, absent = fresh - replaced, absent - replaced
        if any(not key.startswith(model.base_model_prefix) for key in replaced):
            own = {"num_labels": len(head.names)}  # the names of the base model's head are not this one's
        remarks.append(f"The adapter in {folder.name} is merged into {adapter.base}.")
    check_encoder_is_whole(name, model, fresh)
    check_all_is_read(name, model, info["unexpected_keys"])
    weights = {key: tensor.numpy() for key, tensor in weights_of(model).items() if key not in fresh}
    check_finite(name, weights)
    match = NO_HEAD
    if not (HEADS[head.network].layer and HEADS[head.network].named):
        match = HeadMatch(())
    elif f"{(layer := output_layer(model))}.weight" not in absent:
        match = match_head(own, head)
        remarks += fit_head(weights, layer, match, head.scale)
        match = of_whole_network(match, fresh)
    found = _source(
        name,
        model.config,
        weights,
        made,
        network=head.network,
        commit=commit,
        remarks=tuple(remarks),
        head=match,
    )
    return _with_original(found, anatomy, place) if was_cut(own) else found


def _network(folder: Path, config: PreTrainedConfig, head: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a network with a head in fp32, with the library's report on its weights."""
    network = network_class(config, head)
    model, info = network.from_pretrained(
        folder,
        config=config,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # the head of another task
        dtype=torch.float32,
        attn_implementation=attention_of(network),
    )
    return model, info


def _with_original(source: ModelSource, anatomy: Anatomy, folder: Path) -> ModelSource:
    """Add to a network that was cut before what it was before that."""
    original = original_size(anatomy, folder)
    gone = original.compression_of(anatomy.costs.encoder)
    remark = (
        f"The model was cut before: {100 * gone:.1f} % of its first encoder is gone. Compression counts from what is "
        "there."
    )
    return replace(source, original=original, remarks=(*source.remarks, remark))


def _find(name: str) -> tuple[Path, str | None]:
    """Return the folder of a model's encoder, and its commit, as `find_folder`."""
    folder, commit = find_folder(name)
    return encoder_folder(folder), commit


def _base_of(adapter: Adapter) -> Path:
    """Return the folder of the model that an adapter was trained on.

    Raises:
        BadInput: it is not there.
    """
    try:
        return _find(adapter.base)[0]
    except (BadInput, OSError, ValueError) as error:
        raise BadInput(
            f"An adapter is merged into the model that it was trained on; {adapter.folder} names {adapter.base}, which "
            f"cannot be read: {str(error).splitlines()[0]} Correct base_model_name_or_path in {ADAPTER}, or: {MERGE}"
        ) from error


def _configuration(folder: Path, own: dict[str, Any], head: Mapping[str, Any]) -> PreTrainedConfig:
    """Return the configuration of a model's own class, with a task's head; that of a cut network has its layout.

    Raises:
        BadInput: the class is unknown, or a newer version wrote it.
    """
    from transformers import AutoConfig

    changed = {**head, **overrides(own)}
    config: PreTrainedConfig
    if not was_cut(own):
        if "model_type" in own:
            find_architecture(str(own["model_type"]))  # before the library asks to run the model's own code
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **changed)
    else:
        config = AutoConfig.for_model(**(dense_entries(own, folder) | changed))
        if own.get(PRUNED):
            setattr(config, LAYOUT, layout_of_pruned(config, own[PRUNED]))
    find_architecture(config.model_type)
    return config


def _source(
    name: str,
    config: PreTrainedConfig,
    weights: Weights,
    made: Preprocessor,
    *,
    network: str,
    commit: str | None,
    remarks: tuple[str, ...] = (),
    head: HeadMatch = NO_HEAD,
) -> ModelSource:
    settings = json.loads(config.to_json_string())
    settings = {key: value for key, value in settings.items() if key not in VOLATILE_CONFIG}
    digest = hashlib.sha256()
    digest.update(json.dumps([settings, key_of(made)], sort_keys=True).encode())
    for key, array in sorted(weights.items()):
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    fingerprint = digest.hexdigest() + (f"@{commit}" if commit else "")
    return ModelSource(name, fingerprint, settings, weights, files_of(made), remarks, head, network=network)
