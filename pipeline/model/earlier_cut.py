"""Models that were cut before they were given: folders of `prunefront export`, checkpoints with pruned heads.

Such a network has its class's dense shape and lacks units from the start. Its layers keep their numbers, since a layer
may depend on its place, and so do heads that pick their columns of a shared table; else what it has left are its first
heads and neurons. Compression counts from what is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.model.anatomy import Anatomy, find_architecture, read_anatomy
from pipeline.model.heads import network_of
from pipeline.model.modeling_cut import FORMAT
from pipeline.model.surgery import cut
from pipeline.study.records import BadInput, Masks, OriginalSize

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Layout = Sequence[Mapping[str, Any]]  # of each layer that is left: its number, heads and neurons

LAYOUT = "cut_layout"  # of config.json: the heads and neurons of each layer that is left
DEPTH = "cut_layers"  # of config.json: the layers of the dense network; the first versions did not write it
PRUNED = "pruned_heads"  # of config.json, as transformers 4 wrote it: the numbers of gone heads by layer
KIND = "cut_"  # before the model_type of an exported folder
RECORD = "prunefront.json"
CODE = (
    "auto_map",
    "architectures",
    "cut_format",
    "cut_row",
    PRUNED,
)  # entries of config.json that the dense class has not
KEPT_HEADS = "kept_heads"  # of an entry of the layout: their numbers, where layers share a table of all heads
AS_GIVEN = "_anatomy_as_given"


def was_cut(own: Mapping[str, Any]) -> bool:
    """Return whether a config.json is that of a network that was cut before."""
    return str(own.get("model_type", "")).startswith(KIND) or bool(own.get(PRUNED))


def dense_entries(own: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the config.json of a cut network as that of its class, which keeps `cut_layout` as an entry of its own.

    Raises:
        BadInput: a newer version wrote it.
    """
    if int(own.get("cut_format", 0)) > FORMAT:
        raise BadInput(
            f"{folder} has format {own['cut_format']}, and this prunefront knows {FORMAT}. Update it."
        )
    kind = str(own.get("model_type", "")).removeprefix(KIND)
    return {key: value for key, value in own.items() if key not in CODE} | {"model_type": kind}


def layout_of_pruned(config: PreTrainedConfig, pruned: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return the layout of a network whose heads were pruned; `pruned` has the numbers of gone heads by layer."""
    neurons = getattr(config, "hidden_dim", None) or config.intermediate_size
    shared = find_architecture(config.model_type).head_table is not None
    found: list[dict[str, Any]] = []
    for layer in range(config.num_hidden_layers):
        kept = sorted({*range(config.num_attention_heads)} - {*pruned.get(str(layer), ())})
        found.append({"layer": layer, "heads": len(kept), "neurons": neurons})
        found[-1] |= {KEPT_HEADS: kept} if shared else {}
    return found


def network_class(config: PreTrainedConfig, head: str) -> Any:
    """Return the class of a configuration's network with a head; if it was cut before, one that builds it as it is."""
    network = network_of(config, head)
    layout = getattr(config, LAYOUT, None)
    if layout is None:
        return network

    def build(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        _deepen(config, layout)
        network.__init__(self, config, *args, **kwargs)
        setattr(self, AS_GIVEN, _cut_as(self, layout))  # notes in the configuration how many layers are left
        self.post_init()

    return type(network.__name__, (network,), {"__init__": build})


def anatomy_as_given(model: PreTrainedModel) -> Anatomy:
    """Return the anatomy of a network that `network_class` built, dense or cut before; it is then of the plain class.

    Raises:
        BadInput: as `read_anatomy`.
    """
    anatomy: Anatomy | None = vars(model).pop(AS_GIVEN, None)
    if anatomy is None:
        return read_anatomy(model)
    model.__class__ = type(model).__mro__[1]
    return anatomy


def original_size(anatomy: Anatomy, folder: Path) -> OriginalSize:
    """Return the size that a network had before its first cut: as its folder's record says, else the dense shape."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / RECORD).read_text())
        first, anchors = record.get("original") or {}, record["anchors"]
        return OriginalSize(
            int(first.get("parameters", anchors["dense_parameters"])),
            int(first.get("encoder_parameters", anchors["dense_encoder_parameters"])),
        )
    costs = anatomy.costs
    return OriginalSize(costs.model + costs.gone, costs.encoder + costs.gone)


def _cut_as(model: PreTrainedModel, layout: Layout) -> Anatomy:
    """Cut a dense network to the sizes of `layout`, and count from there."""
    dense = read_anatomy(model)
    full = Masks.full(dense.dense_layers, dense.heads_per_layer, dense.neurons_per_layer)
    masks = Masks(full.heads & False, full.neurons & False, full.layers & False)
    try:
        sizes = [
            (place, int(left["heads"]), int(left["neurons"]))
            for place, left in zip(_places(model.config, layout), layout, strict=True)
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(
            f"{LAYOUT} of config.json has not heads and neurons of each layer: {error!r}."
        ) from error
    for (layer, heads, neurons), left in zip(sizes, layout, strict=True):
        if 0 <= layer < dense.dense_layers:
            numbers = [
                each for each in left.get(KEPT_HEADS, range(heads)) if 0 <= each < dense.heads_per_layer
            ]
            masks.heads[layer, numbers] = masks.neurons[layer, : max(neurons, 0)] = True
            masks.layers[layer] = True
    found = [
        (int(layer), int(masks.heads[layer].sum()), int(masks.neurons[layer].sum()))
        for layer in np.flatnonzero(masks.layers)
    ]
    if found != sizes:
        raise BadInput(
            f"{LAYOUT} of config.json has {sizes}. The layers are out of {dense.dense_layers}, in "
            f"their order, of at most {dense.heads_per_layer} heads and {dense.neurons_per_layer} "
            "neurons. Export it again."
        )
    anatomy, costs = cut(model, dense, masks), dense.costs
    there = costs.kept(masks)
    return replace(anatomy, costs=replace(costs, gone=costs.encoder - there))


def _places(config: Any, layout: Layout) -> list[int]:
    """Return the numbers of the layers that are left, in the network that is built and then cut."""
    deep = getattr(config, DEPTH, None) is not None
    return [int(left["layer"]) if deep else place for place, left in enumerate(layout)]


def _deepen(config: Any, layout: Layout) -> None:
    """Give the configuration of a cut network the dense one's layers, in place; those that are gone are of any type."""
    depth, types = getattr(config, DEPTH, None), getattr(config, "layer_types", None)
    if depth is None:
        return
    config.num_hidden_layers = depth
    if types is not None:
        known = dict(zip(_places(config, layout), types, strict=False))
        config.layer_types = [
            known.get(layer, types[0] if types else "full_attention") for layer in range(depth)
        ]
