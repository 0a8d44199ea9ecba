"""The blocks of one layer and the linear maps that its units live in.

Shapes: B rows, T tokens, d hidden features, h heads of k features, n neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.model.cut_blocks import Architecture, Branch, Part, features_out, part_of
from pipeline.study.records import BadInput

UnitNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """A residual branch of one layer that is there.

    Attributes:
        maps: its linear maps by name (`Part.name`); the last one is `output`. They are nn.Linear, or the library's
            Conv1D, which holds its weight as [in, out]: `matrix` gives [out, in] of both.
        parts: where units lie in each map.
        output: takes what the units give [B, T, u k], and gives the branch [B, T, d], but for `scale`.
        scale: factors of the branch's features, as a module; None without them.
        reads: the module whose input is the residual; None: the layer's own input is.
    """

    maps: Mapping[str, nn.Linear]
    parts: Mapping[str, Part]
    output: nn.Linear
    scale: nn.Module | None
    reads: nn.Module | None

    @property
    def branch(self) -> nn.Module:
        """The module whose output is the residual branch [B, T, d], before dropout and addition."""
        return self.output if self.scale is None else self.scale

    @property
    def factors(self) -> Tensor | None:
        """The scale's factors [d]."""
        return None if self.scale is None else next(self.scale.parameters())

    @property
    def width(self) -> int:
        """Features that its units give together: inputs of `output`."""
        return features_in(self.output)


@dataclass(frozen=True, eq=False)
class LayerParts:
    """One layer that is there: its blocks, and which of the dense units they still hold.

    `index` is the layer's number in the dense model; `heads` [h] and `neurons` [n] are dense numbers in
    ascending order. A block that is gone is None, and so are its maps.

    `attention_output` takes the context of all heads [B, T, h k] and gives the residual branch [B, T, d]
    before dropout, add and LayerNorm; so does `ffn_out` for the neurons [B, T, n].
    """

    index: int
    heads: UnitNumbers
    neurons: UnitNumbers
    attention: Block | None
    ffn: Block | None

    @property
    def blocks(self) -> tuple[tuple[str, Block, UnitNumbers], ...]:
        """The blocks that are there, each with its output's name and its units."""
        both = ((self.attention, self.heads), (self.ffn, self.neurons))
        return tuple(([*b.maps][-1], b, units) for b, units in both if b is not None)

    @property
    def maps(self) -> dict[str, nn.Linear]:
        """All linear maps that are there, by name."""
        return {name: linear for _, block, _ in self.blocks for name, linear in block.maps.items()}

    @property
    def query(self) -> nn.Linear | None:
        """The map of queries alone; None where there is none of its own."""
        return self.maps.get("query")

    @property
    def key(self) -> nn.Linear | None:
        """The map of keys alone."""
        return self.maps.get("key")

    @property
    def value(self) -> nn.Linear | None:
        """The map of values alone."""
        return self.maps.get("value")

    @property
    def attention_output(self) -> nn.Linear | None:
        """The attention block's output."""
        return self.maps.get("attention_output")

    @property
    def ffn_in(self) -> nn.Linear | None:
        """The feed-forward network's first map."""
        return self.maps.get("ffn_in")

    @property
    def ffn_out(self) -> nn.Linear | None:
        """The feed-forward network's output."""
        return self.maps.get("ffn_out")


def layer_parts(
    layer: nn.Module, where: Architecture, *, index: int, heads: UnitNumbers, neurons: UnitNumbers
) -> LayerParts:
    """Return the parts of one layer that holds these dense heads and neurons; a block without any is gone."""
    return LayerParts(
        index,
        heads,
        neurons,
        attention=_block(layer, where.attention, reads=None) if len(heads) else None,
        ffn=_block(layer, where.ffn, reads=where.ffn.pre_norm or where.ffn.parts[0].path)
        if len(neurons)
        else None,
    )


def matrix(linear: nn.Linear) -> Tensor:
    """Return a map's matrix [out, in]: its weight, or a view of it."""
    return as_matrix(linear.weight, linear)


def as_matrix(values: Tensor, linear: nn.Linear) -> Tensor:
    """Return values of a map's weights as [out, in]; of [out, in] what fits the weights as they are stored."""
    return values if isinstance(linear, nn.Linear) else values.T


def unit_sums(block: Block, values: Mapping[str, Tensor], units: int) -> Tensor:
    """Return sums [units], float64, over what each unit holds of a block's maps.

    Args:
        block: of these units.
        values: one for each weight, by map, in the weights' shapes.
        units: their number.
    """
    by_feature: dict[int, Tensor] = {}  # maps of one width are added first
    for name, part in block.parts.items():
        rows_first = isinstance(block.maps[name], nn.Linear)
        found = values[name].double().sum(1 if (part.side == "out") == rows_first else 0)
        found = found.reshape(part.strides, -1).sum(0) if part.strides > 1 else found
        before = by_feature.get(len(found))
        by_feature[len(found)] = found if before is None else before + found
    sums = [each.reshape(units, -1).sum(1) for each in by_feature.values()]
    return torch.stack(sums).sum(0)


def returned(where: Architecture, hidden: Tensor) -> Tensor | tuple[Tensor, None]:
    """Return a hidden state as a layer of the family does."""
    return (hidden, None) if where.returns_tuple else hidden


def hidden_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the hidden state that a layer returned."""
    return output if isinstance(output, Tensor) else output[0]


def _block(layer: nn.Module, branch: Branch, *, reads: str | None) -> Block:
    parts = [part for part in branch.parts if part.optional is False or part_of(layer, part) is not None]
    return Block(
        maps={part.name: linear_at(layer, part) for part in parts},
        parts={part.name: part for part in parts},
        output=linear_at(layer, parts[-1]),
        scale=layer.get_submodule(branch.scale) if branch.scale is not None else None,
        reads=layer.get_submodule(reads) if reads is not None else None,
    )


def linear_at(layer: nn.Module, part: Part) -> nn.Linear:
    """Return a layer's linear map.

    Raises:
        BadInput: it is missing, or another kind of module.
    """
    from transformers.pytorch_utils import Conv1D

    try:
        module: Any = layer.get_submodule(part.path)
    except AttributeError as missing:
        raise BadInput(
            f"A layer has no {part.path}, which every layer of a dense encoder has. {missing}"
        ) from missing
    if type(module) not in (nn.Linear, Conv1D):
        raise BadInput(
            f"{part.path} is a {type(module).__name__}. Heads and neurons are cut out of plain linear "
            "maps. Give a model without quantization or adapters."
        )
    linear: nn.Linear = module
    return linear


def features_in(linear: nn.Linear) -> int:
    """Return the number of inputs of a map."""
    return linear.weight.numel() // features_out(linear)
