"""Where the removable parts of a network live: read from its own modules by its architecture's row.

Shapes: L layers, H heads of k features each, N feed-forward neurons, d hidden features, T tokens; L, H and N
are always those of the dense model, also after a cut: units keep their numbers. Where heads share keys and values, a
"head" is a group of them, and k the features of the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from pipeline.model.architectures import ARCHITECTURES, WITHOUT_ROW
from pipeline.model.costs import Costs
from pipeline.model.counting import count_costs, described
from pipeline.model.cut_blocks import Architecture, NoLayer, base_of
from pipeline.model.layer_parts import LayerParts, features_in, layer_parts, linear_at
from pipeline.study.entry_points import ENCODERS, load_entry, names_in
from pipeline.study.records import BadInput, Masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_architecture(model_type: str) -> Architecture:
    """Return the row of a `config.model_type`: one of ARCHITECTURES, or one that another package brings.

    Raises:
        BadInput: it is unknown, or the package brings no row.
    """
    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type]
    found = load_entry(ENCODERS, model_type)
    if found is None:
        known = sorted({*ARCHITECTURES, *names_in(ENCODERS)})
        reason = f": {WITHOUT_ROW[model_type]}" if model_type in WITHOUT_ROW else ""
        raise BadInput(
            f"A {model_type!r} cannot be cut{reason}: only encoders whose heads and neurons are "
            f"mapped can. Known are {', '.join(known)}."
        )
    if not isinstance(found, Architecture):
        raise BadInput(
            f"The entry point {model_type!r} in {ENCODERS} is {found!r}, and no Architecture. Correct "
            "it in its package's pyproject.toml."
        )
    return found


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The parts of one model instance. It refers to that model's own modules.

    `copy.deepcopy((model, anatomy))` copies both together, so that they still belong to each other.
    """

    architecture: str  # config.model_type
    layers: tuple[LayerParts, ...]  # those that are there
    dense_layers: int  # L
    heads_per_layer: int  # H
    neurons_per_layer: int  # N
    head_size: int  # k
    hidden_size: int  # d
    costs: Costs  # of the dense model

    @property
    def present(self) -> Masks:
        """Which units of the dense model are there."""
        masks = Masks(
            np.zeros((self.dense_layers, self.heads_per_layer), bool),
            np.zeros((self.dense_layers, self.neurons_per_layer), bool),
            np.zeros(self.dense_layers, bool),
        )
        for parts in self.layers:
            masks.heads[parts.index, parts.heads] = True
            masks.neurons[parts.index, parts.neurons] = True
            masks.layers[parts.index] = True
        return masks


def read_anatomy(model: PreTrainedModel) -> Anatomy:
    """Find the parts of an uncut transformers encoder.

    Raises:
        BadInput: if the architecture is unknown, or the layers hold more or less than its parts (adapters,
            cross-attention, a cut).
    """
    config: Any = model.config
    where = find_architecture(config.model_type)
    layers = encoder_layers(model, config.model_type)
    for key, value in where.requires:
        if getattr(config, key, value) != value:
            raise BadInput(
                f"This {config.model_type} has {key} = {getattr(config, key)}, which no row "
                f"describes: it is cut in its layers, with nothing between them. Give one with {key} "
                f"= {value}."
            )
    heads = int(getattr(config, where.units))
    neurons = features_in(linear_at(layers[0], where.ffn.parts[-1]))
    parts = tuple(
        layer_parts(layer, where, index=index, heads=np.arange(heads), neurons=np.arange(neurons))
        for index, layer in enumerate(layers)
    )
    _check_plain(config, where, layers, parts)
    costs = count_costs(model, where, layers, parts[0])
    return Anatomy(
        config.model_type,
        parts,
        len(layers),
        heads,
        neurons,
        costs.head_size,
        config.hidden_size,
        costs,
    )


def encoder_layers(model: PreTrainedModel, model_type: str) -> nn.ModuleList:
    """Return the model's own list of the layers that are there."""
    where = find_architecture(model_type)
    layers = base_of(model, where).get_submodule(where.layers)
    if not isinstance(layers, nn.ModuleList):
        raise TypeError(f"Layers of {model_type} are a ModuleList; found was {type(layers).__name__}.")
    return nn.ModuleList() if len(layers) == 1 and isinstance(layers[0], NoLayer) else layers


def _check_plain(
    config: Any, where: Architecture, layers: nn.ModuleList, parts: tuple[LayerParts, ...]
) -> None:
    """Check that layers hold the parts of the row and nothing else, all of the same shape."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    plain, width = described(layers, where), config.num_attention_heads * size
    there = sum(parameter.numel() for parameter in layers.parameters())
    shapes = {tuple(tuple(linear.weight.shape) for linear in part.maps.values()) for part in parts}
    found = parts[0].blocks[0][1].width
    if there != plain or len(shapes) > 1 or width != found:
        raise BadInput(
            f"The layers of a plain {config.model_type} are alike: {plain:,} parameters together, and heads with "
            f"{width} features. These have {there:,}, and heads with {found} features. Give a plain encoder: no "
            "adapters, no cross-attention, not yet cut."
        )
