"""SNIP's units: residual branches whole, their heads, or their neurons; how many there are, and what each weighs.

Units are numbered as in the dense model: those of attention layer by layer, then those of the feed-forward networks.
Shapes: L layers, H heads, N neurons; U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.model.anatomy import Anatomy
from pipeline.model.layer_parts import Block, UnitNumbers
from pipeline.study.records import FloatArray, Scores

Level = Literal["block", "head", "neuron"]
SPLIT: dict[
    Level, tuple[bool, bool]
] = {  # whether attention, and the feed-forward network, is split into units
    "block": (False, False),
    "head": (True, False),
    "neuron": (True, True),
}


@dataclass(frozen=True)
class Branch:
    """A residual branch of the network at hand, and the units it holds, numbered as in the dense model."""

    block: Block  # the units' context goes into its output, f(x) comes out of its branch
    layer: int  # in the dense model
    name: str  # attention or ffn
    units: tuple[int, ...]
    names: tuple[str, ...]  # of reports: one for each unit, or one for all
    size: int  # features of a unit in what the output reads; 0: the branch is one unit


@dataclass(frozen=True)
class Units:
    """The units of a model at one level."""

    anatomy: Anatomy
    level: Level

    @property
    def per_layer(self) -> tuple[int, int]:
        """Units of a dense layer: of attention, of the feed-forward network."""
        heads, neurons = SPLIT[self.level]
        return (self.anatomy.heads_per_layer if heads else 1), (
            self.anatomy.neurons_per_layer if neurons else 1
        )

    @property
    def first_ffn(self) -> int:
        """The number of the first unit of a feed-forward network."""
        return self.anatomy.dense_layers * self.per_layer[0]

    def branches(self) -> list[Branch]:
        """Return the branches of the network at hand: attention first, then the feed-forward networks."""
        anatomy, (heads, neurons) = self.anatomy, SPLIT[self.level]
        attention = [
            self._branch(part.attention, part.index, "attention", part.heads if heads else None)
            for part in anatomy.layers
        ]
        ffn = [
            self._branch(part.ffn, part.index, "ffn", part.neurons if neurons else None)
            for part in anatomy.layers
        ]
        return [branch for branch in (*attention, *ffn) if branch is not None]

    def weights(self, *, unit_weight: str, ffn_weight: float) -> FloatArray:
        """Return w_u [U]: 1, or the unit's parameters over their mean; times `ffn_weight` for feed-forward units."""
        costs, (heads, neurons) = self.anatomy.costs, SPLIT[self.level]
        values = np.ones(self.first_ffn + self.anatomy.dense_layers * self.per_layer[1])
        if unit_weight == "parameters":
            values[: self.first_ffn] = costs.head if heads else costs.attention
            values[self.first_ffn :] = costs.neuron if neurons else costs.ffn
            values /= values.mean()
        values[self.first_ffn :] *= ffn_weight
        return values

    def scores(self, values: FloatArray) -> Scores:
        """Return values [U] as scores."""
        layers, (heads, neurons) = self.anatomy.dense_layers, SPLIT[self.level]
        attention, ffn = values[: self.first_ffn], values[self.first_ffn :]
        found = {"heads" if heads else "attention": attention.reshape(layers, -1) if heads else attention}
        found |= {"neurons" if neurons else "ffn": ffn.reshape(layers, -1) if neurons else ffn}
        return Scores(**found)

    def _branch(
        self, block: Block | None, layer: int, name: str, numbers: UnitNumbers | None
    ) -> Branch | None:
        if block is None:
            return None
        first = 0 if name == "attention" else self.first_ffn
        first += layer * self.per_layer[name == "ffn"]
        if numbers is None:
            return Branch(block, layer, name, (first,), (f"{name}.{layer}",), 0)
        units = tuple(first + int(number) for number in numbers)
        names = tuple(f"head.{layer}.{number}" for number in numbers)
        return Branch(
            block,
            layer,
            name,
            units,
            names if name == "attention" else (f"neurons.{layer}",),
            block.width // len(units),
        )
