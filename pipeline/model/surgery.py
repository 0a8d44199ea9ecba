"""Remove units: by hooks (`masked`) or by making the network physically smaller (`cut`), with the same result.

Of a block that is gone its LayerNorm is left: y = LN(x), without the output bias. Masks are in the
numbers of the dense model. Shapes: L layers, H heads of k features, N neurons, d hidden features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, LayerParts, encoder_layers, find_architecture, layer_parts
from pipeline.model.modeling_cut import (
    Architecture,
    NoAttention,
    NoFfn,
    remove_block,
    replace_module,
    set_heads,
)
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
    layers = encoder_layers(model, anatomy.architecture)
    with ExitStack() as hooks:
        for layer, parts in zip(layers, anatomy.layers, strict=True):
            if not masks.layers[parts.index]:
                hooks.callback(layer.register_forward_hook(_pass_input).remove)
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
    for layer, parts in zip(list(layers), anatomy.layers, strict=True):
        if masks.layers[parts.index]:
            _cut_attention(layer, parts, where, kept=masks.heads[parts.index, parts.heads])
            _cut_ffn(layer, parts, where, kept=masks.neurons[parts.index, parts.neurons])
            heads, neurons = (
                np.flatnonzero(masks.heads[parts.index]),
                np.flatnonzero(masks.neurons[parts.index]),
            )
            left.append(layer_parts(layer, where, index=parts.index, heads=heads, neurons=neurons))
        else:
            del layers[len(left)]
    model.config.num_hidden_layers = len(layers)
    return replace(anatomy, layers=tuple(left))


def _cut_attention(layer: nn.Module, parts: LayerParts, where: Architecture, *, kept: BoolArray) -> None:
    """Narrow one layer's attention to the heads of `kept` [h], or remove it."""
    if kept.all():  # also if none was left
        return
    if not kept.any():
        remove_block(layer, where.attention, where.attention_norm, NoAttention())
        return
    head_size = _there(parts.query).out_features // len(kept)
    features = torch.from_numpy(np.flatnonzero(np.repeat(kept, head_size)))
    for path, linear in ((where.query, parts.query), (where.key, parts.key), (where.value, parts.value)):
        replace_module(layer, path, _rows(_there(linear), features))
    replace_module(layer, where.attention_output, _columns(_there(parts.attention_output), features))
    set_heads(layer, where, count=int(kept.sum()), width=len(features))


def _cut_ffn(layer: nn.Module, parts: LayerParts, where: Architecture, *, kept: BoolArray) -> None:
    """Narrow one layer's feed-forward network to the neurons of `kept` [n], or remove it."""
    if kept.all():
        return
    if not kept.any():
        remove_block(layer, where.ffn, where.ffn_norm, NoFfn())
        return
    neurons = torch.from_numpy(np.flatnonzero(kept))
    replace_module(layer, where.ffn_in, _rows(_there(parts.ffn_in), neurons))
    replace_module(layer, where.ffn_out, _columns(_there(parts.ffn_out), neurons))


def _rows(linear: nn.Linear, kept: Tensor) -> nn.Linear:
    """Return the linear map to only the features of `kept`."""
    kept = kept.to(linear.weight.device)
    bias = None if linear.bias is None else linear.bias.index_select(0, kept)
    return _narrowed(linear, linear.weight.index_select(0, kept), bias)


def _columns(linear: nn.Linear, kept: Tensor) -> nn.Linear:
    """Return the linear map from only the features of `kept`."""
    bias = None if linear.bias is None else linear.bias.clone()
    return _narrowed(linear, linear.weight.index_select(1, kept.to(linear.weight.device)), bias)


def _narrowed(linear: nn.Linear, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    # "meta": nothing is allocated or initialised that is replaced on the next lines
    narrowed = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    narrowed.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
    if bias is not None:
        narrowed.bias = nn.Parameter(bias, requires_grad=linear.bias.requires_grad)
    return narrowed.train(linear.training)


def _there(linear: nn.Linear | None) -> nn.Linear:
    if linear is None:
        raise ValueError("Only a block that is there can be narrowed; in this Anatomy it is gone.")
    return linear


def _pass_input(_layer: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> Tensor:
    return args[0]


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
