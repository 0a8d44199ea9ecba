"""Remove units: by hooks (`masked`) or by making the network physically smaller (`cut`), with the same result.

Of a block that is gone its LayerNorm is left where it comes last: y = LN(x); else nothing: y = x. The output bias
goes with it. Masks are in the
numbers of the dense model. Shapes: L layers, H heads of k features, N neurons, d hidden features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers, find_architecture
from pipeline.model.cut_blocks import cut_block, pick_heads
from pipeline.model.layer_parts import LayerParts, layer_parts, returned
from pipeline.model.modeling_cut import settle
from pipeline.study.records import BoolArray, Masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def masked(model: PreTrainedModel, anatomy: Anatomy, masks: Masks) -> Iterator[None]:
    """Make the network compute as if it were cut, by hooks; the exit removes them, also after an exception.

    Raises:
        ValueError: if the masks keep what is not there, or units of a layer that goes.
    """
    _check_masks(masks, anatomy)
    where = find_architecture(anatomy.architecture)
    layers = encoder_layers(model, anatomy.architecture)

    def pass_input(_layer: nn.Module, args: tuple[Tensor, ...], _output: object) -> object:
        return returned(where, args[0])

    with ExitStack() as hooks:
        for layer, parts in zip(layers, anatomy.layers, strict=True):
            if not masks.layers[parts.index]:
                hooks.callback(layer.register_forward_hook(pass_input).remove)
                continue
            heads = np.repeat(masks.heads[parts.index, parts.heads], anatomy.head_size)
            neurons = masks.neurons[parts.index, parts.neurons]
            for linear, kept in ((parts.attention_output, heads), (parts.ffn_out, neurons)):
                if linear is not None and not kept.any():
                    hooks.callback(linear.register_forward_hook(_zero_output).remove)
                elif linear is not None and not kept.all():
                    hooks.callback(linear.register_forward_pre_hook(_zero_inputs(linear, kept)).remove)
        yield


@torch.no_grad()
def cut(model: PreTrainedModel, anatomy: Anatomy, masks: Masks) -> Anatomy:
    """Cut the network, in place, to what `masks` keep; return its new Anatomy.

    Parameters that stay whole keep their identity; narrowed ones are new. Names of the state dict survive,
    but for layers, which are numbered anew. The network may have been cut before.

    Raises:
        ValueError: if the masks keep what is not there, or units of a layer that goes.
    """
    _check_masks(masks, anatomy)
    where = find_architecture(anatomy.architecture)
    layers = encoder_layers(model, anatomy.architecture)
    left: list[LayerParts] = []
    places: list[int] = []  # among the layers before the cut
    for place, (layer, parts) in enumerate(zip(list(layers), anatomy.layers, strict=True)):
        if not masks.layers[parts.index]:
            del layers[len(left)]
            continue
        kept = (masks.heads[parts.index, parts.heads], masks.neurons[parts.index, parts.neurons])
        for branch, units in zip((where.attention, where.ffn), kept, strict=True):
            cut_block(layer, where, branch, torch.from_numpy(units))
        heads, neurons = np.flatnonzero(masks.heads[parts.index]), np.flatnonzero(masks.neurons[parts.index])
        if 0 < len(heads) < len(parts.heads):
            pick_heads(layer.get_submodule(where.attention.block), where, heads.tolist())
        left.append(layer_parts(layer, where, index=parts.index, heads=heads, neurons=neurons))
        places.append(place)
    _note_layers(model, places)
    settle(model, where)
    return replace(anatomy, layers=tuple(left))


def _note_layers(model: PreTrainedModel, places: list[int]) -> None:
    """Note in the configuration how many layers are left, and their types where it lists them."""
    configs: list[Any] = [model.config, model.base_model.config]
    for config in {id(each): each for each in configs}.values():
        config.num_hidden_layers = len(places)
        types = getattr(config, "layer_types", None)
        if types is not None:
            config.layer_types = [types[place] for place in places]


def _zero_output(_linear: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return torch.zeros_like(output)


def _zero_inputs(linear: nn.Linear, kept: BoolArray) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
    # bool, so that it changes no dtype under autocast
    mask = torch.from_numpy(kept).to(linear.weight.device)

    def hook(_linear: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] * mask,)

    return hook


def _check_masks(masks: Masks, anatomy: Anatomy) -> None:
    if not masks <= anatomy.present:
        raise ValueError("Masks keep only what is there; these keep units that were cut before.")
    if masks.heads[~masks.layers].any() or masks.neurons[~masks.layers].any():
        raise ValueError("A layer that goes takes its heads and neurons with it; these masks keep some.")
