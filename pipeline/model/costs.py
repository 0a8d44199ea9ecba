"""What the units of a network cost: parameters and multiply-accumulates.

Shapes: L layers, H heads (units of attention), N neurons, d hidden features, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.study.records import Masks


@dataclass(frozen=True)
class Products:
    """Multiply-accumulates of a row of T tokens in the matrix products of one unit, or one neuron."""

    head_token: int  # projections, per token
    head_pair: int  # scores and context, per pair of tokens
    neuron_token: int
    head_positions: int = 0  # projections of relative positions, once
    head_position_token: int = 0  # scores of tokens with relative positions, per token
    windows: tuple[
        int | None, ...
    ] = ()  # of each layer: a token reads those nearer than this; empty: all read all


@dataclass(frozen=True)
class Costs:
    """Parameters of the dense model by unit, and the parameters and MACs of what masks keep of it.

    `attention` and `ffn` are whole blocks with what goes with them (output bias; LayerNorm where it comes first), of
    the largest layer; `layer` is the largest layer; `encoder` is all layers; `model` is everything, embeddings and
    head too. The tuples [L] are what a layer has beside units: what goes with the last head, what goes with the last
    neuron, what goes with the layer.
    """

    head: int
    neuron: int
    attention_rest: tuple[int, ...]
    ffn_rest: tuple[int, ...]
    layer_rest: tuple[int, ...]
    heads_per_layer: int
    neurons_per_layer: int
    other: int  # outside the layers
    hidden_size: int
    head_size: int
    products: Products
    gone: int = 0  # parameters of layers of this shape that were not there from the start

    @staticmethod
    def of(masks: Masks, *, hidden_size: int, head_size: int, other: int) -> Costs:
        """Count BERT's parameters from dense shapes, given as the masks that keep everything.

        Args:
            masks: [L, H], [L, N] and [L].
            hidden_size: d.
            head_size: k.
            other: parameters outside the layers.
        """
        (layers, heads), neurons, d, k = masks.heads.shape, masks.neurons.shape[1], hidden_size, head_size
        return Costs(
            head=3 * (k * d + k) + d * k,  # rows of Q, K, V with biases; columns of the output projection
            neuron=(d + 1) + d,  # a row with its bias, a column
            attention_rest=(d,) * layers,  # the output bias belongs to the block
            ffn_rest=(d,) * layers,
            layer_rest=(2 * (2 * d),) * layers,  # two LayerNorms of a scale and a shift
            heads_per_layer=heads,
            neurons_per_layer=neurons,
            other=other,
            hidden_size=d,
            head_size=k,
            products=Products(4 * d * k, 2 * k, 2 * d),
        )

    @property
    def attention(self) -> int:
        """Parameters of a whole attention block."""
        return self.heads_per_layer * self.head + max(self.attention_rest)

    @property
    def ffn(self) -> int:
        """Parameters of a whole feed-forward block."""
        return self.neurons_per_layer * self.neuron + max(self.ffn_rest)

    @property
    def layer(self) -> int:
        """Parameters of a whole layer."""
        units = self.heads_per_layer * self.head + self.neurons_per_layer * self.neuron
        rests = zip(self.attention_rest, self.ffn_rest, self.layer_rest, strict=True)
        return units + max(map(sum, rests))

    @property
    def encoder(self) -> int:
        """Parameters of all layers."""
        units = self.heads_per_layer * self.head + self.neurons_per_layer * self.neuron
        rests = (self.attention_rest, self.ffn_rest, self.layer_rest)
        return len(self.layer_rest) * units + sum(map(sum, rests)) - self.gone

    @property
    def model(self) -> int:
        """Parameters of everything."""
        return self.encoder + self.other

    def kept_by_layer(self, masks: Masks) -> npt.NDArray[np.int64]:
        """Return the parameters of each layer [L] that stay under `masks`."""
        heads, neurons = masks.heads.sum(axis=1), masks.neurons.sum(axis=1)
        kept: npt.NDArray[np.int64] = (
            np.array(self.layer_rest, np.int64) * masks.layers
            + np.array(self.attention_rest, np.int64) * (heads > 0)
            + np.array(self.ffn_rest, np.int64) * (neurons > 0)
            + self.head * heads
            + self.neuron * neurons
        )
        return kept

    def kept(self, masks: Masks) -> int:
        """Return the encoder parameters that stay under `masks`."""
        return int(self.kept_by_layer(masks).sum())

    def compression(self, masks: Masks) -> float:
        """Return removed encoder parameters / encoder parameters of the dense model."""
        return (self.encoder - self.kept(masks)) / self.encoder

    def macs(self, masks: Masks, length: int) -> int:
        """Return the multiply-accumulates of one row of `length` tokens in the layers' matrix products.

        Of a BERT per head 4 T d k for its projections and 2 T² k for scores and context, per neuron 2 T d. Biases,
        softmax, LayerNorm and activations are left out, as is customary. Pairs that a window leaves out do not count;
        pairs that a causal mask hides do.
        """
        p, tokens = self.products, length
        every = p.head_token * tokens + p.head_positions + p.head_position_token * tokens
        windows = p.windows or (None,) * len(masks.layers)
        pairs = np.array([_pairs(tokens, window) for window in windows], np.int64)
        heads, neurons = masks.heads.sum(axis=1), masks.neurons.sum(axis=1)
        return int((heads * (every + p.head_pair * pairs)).sum() + p.neuron_token * tokens * neurons.sum())


def _pairs(tokens: int, window: int | None) -> int:
    """Return how many pairs of tokens are nearer to each other than the window, in both directions."""
    if window is None or window >= tokens:
        return tokens * tokens
    return tokens + 2 * sum(tokens - distance for distance in range(1, window))
