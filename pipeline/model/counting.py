"""Count the parameters of a network's units on its tensors, and the products that they take part in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from pipeline.model.costs import Costs, Products
from pipeline.model.cut_blocks import Architecture, Branch, Part, part_of
from pipeline.model.layer_parts import LayerParts

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def count_costs(
    model: PreTrainedModel, where: Architecture, layers: nn.ModuleList, first: LayerParts
) -> Costs:
    """Count what units cost, and what layers have beside them.

    Args:
        model: dense.
        where: its architecture.
        layers: all of them.
        first: the parts of the first layer; the others have the same maps.
    """
    config: Any = model.config
    counts = (len(first.heads), len(first.neurons))
    units = [
        sum(_per_unit(linear, block.parts[name], count) for name, linear in block.maps.items())
        for (_, block, _), count in zip(first.blocks, counts, strict=True)
    ]
    both = (where.attention, where.ffn)
    attention, ffn = (
        tuple(_size(modules_of(layer, branch)) - unit * count for layer in layers)
        for branch, unit, count in zip(both, units, counts, strict=True)
    )
    in_model = sum(parameter.numel() for parameter in model.parameters())
    in_layers = sum(parameter.numel() for parameter in layers.parameters())
    return Costs(
        head=units[0],
        neuron=units[1],
        attention_rest=attention,
        ffn_rest=ffn,
        layer_rest=tuple(_size(m for branch in both for m in norms_of(layer, branch)) for layer in layers),
        heads_per_layer=counts[0],
        neurons_per_layer=counts[1],
        other=in_model - in_layers,
        hidden_size=config.hidden_size,
        head_size=first.blocks[0][1].width // counts[0],
        products=_products(model, where, layers, first),
    )


def described(layers: nn.ModuleList, where: Architecture) -> int:
    """Return how many parameters of layers are those of the row's maps and norms."""
    both = (where.attention, where.ffn)
    return sum(
        _size([*modules_of(layer, branch), *norms_of(layer, branch)]) for layer in layers for branch in both
    )


def modules_of(layer: nn.Module, branch: Branch) -> list[nn.Module]:
    """Return what goes with a block: its maps, its LayerNorm if it comes first, factors."""
    maps = [part.path for part in branch.parts if part_of(layer, part) is not None]
    return [
        layer.get_submodule(path)
        for path in (*maps, branch.pre_norm, branch.scale, *branch.rest)
        if path is not None
    ]


def norms_of(layer: nn.Module, branch: Branch) -> list[nn.Module]:
    """Return what stays with the layer when a block goes: the LayerNorm after it."""
    return [layer.get_submodule(branch.post_norm)] if branch.post_norm is not None else []


def _size(modules: Iterable[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _per_unit(linear: nn.Linear, part: Part, units: int) -> int:
    """Return the parameters that one unit holds of a map; the bias of its outputs goes with rows, not with columns."""
    bias = linear.bias.numel() if part.side == "out" and linear.bias is not None else 0
    return (linear.weight.numel() + bias) // units


def _products(
    model: PreTrainedModel, where: Architecture, layers: nn.ModuleList, first: LayerParts
) -> Products:
    """Count the matrix products of units."""
    heads, neurons = len(first.heads), len(first.neurons)
    (_, attention, _), (_, ffn, _) = first.blocks
    always = [name for name, part in attention.parts.items() if not part.optional]
    size = attention.width // heads
    positions, kinds = 0, 0
    config: Any = model.config
    if where.relative is not None and (kinds := len(getattr(config, "pos_att_type", None) or ())):
        parent, _, name = where.relative.rpartition(".")
        table: Any = model.base_model.get_submodule(parent)._modules.get(name)
        positions = 0 if table is None else int(table.weight.shape[0])
    windows: tuple[int | None, ...] = ()
    if where.window is not None:
        windows = tuple(getattr(layer.get_submodule(where.attention.block), where.window) for layer in layers)
    return Products(
        head_token=sum(attention.maps[name].weight.numel() for name in always) // heads,
        head_pair=2 * size,
        neuron_token=sum(linear.weight.numel() for linear in ffn.maps.values()) // neurons,
        head_positions=kinds * positions * config.hidden_size * size,
        head_position_token=kinds * positions * size,
        windows=windows if any(windows) else (),
    )
