"""Where the removable parts of an encoder live, and what each of them costs.

Shapes: L layers, H heads of k features each, N feed-forward neurons, d hidden features, T tokens; L, H and N
are always those of the dense model, also after a cut: units keep their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.model.modeling_cut import BERT, DISTILBERT, Architecture
from pipeline.study.entry_points import ENCODERS, load_entry, names_in
from pipeline.study.records import BadInput, Masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UnitNumbers = npt.NDArray[np.int64]


# By `config.model_type`. Other packages bring rows of their own (pipeline/study/entry_points.py).
ARCHITECTURES: dict[str, Architecture] = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "distilbert": DISTILBERT,
    "electra": BERT,
    "camembert": BERT,
}


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
        raise BadInput(
            f"Only encoders whose heads and neurons are mapped can be cut; model_type {model_type!r} is not. "
            f"Known are {', '.join(known)}."
        )
    if not isinstance(found, Architecture):
        raise BadInput(
            f"An entry point in {ENCODERS} names an Architecture; {model_type!r} is {found!r}. Correct it in its "
            "package's pyproject.toml."
        )
    return found


@dataclass(frozen=True, eq=False)
class LayerParts:
    """One layer that is there: its linear maps, and which of the dense units they still hold.

    `index` is the layer's number in the dense model; `heads` [h] and `neurons` [n] are dense numbers in
    ascending order. The maps of a block that is gone are None.

    `attention_output` takes the context of all heads [B, T, h k] and gives the residual branch [B, T, d]
    before dropout, add and LayerNorm; so does `ffn_out` for the neurons [B, T, n].
    """

    index: int
    heads: UnitNumbers
    neurons: UnitNumbers
    query: nn.Linear | None
    key: nn.Linear | None
    value: nn.Linear | None
    attention_output: nn.Linear | None
    ffn_in: nn.Linear | None
    ffn_out: nn.Linear | None


@dataclass(frozen=True)
class Costs:
    """Parameters of the dense model by unit, and the parameters and MACs of what masks keep of it.

    `attention` and `ffn` are whole blocks, output bias included, LayerNorm not; `layer` has both LayerNorms;
    `encoder` is all layers; `model` is everything, embeddings and head too.
    """

    head: int
    attention: int
    neuron: int
    ffn: int
    layer: int
    encoder: int
    model: int
    hidden_size: int
    head_size: int

    @staticmethod
    def of(masks: Masks, *, hidden_size: int, head_size: int, other: int) -> Costs:
        """Count the parameters of dense shapes, given as the masks that keep everything.

        Args:
            masks: [L, H], [L, N] and [L].
            hidden_size: d.
            head_size: k.
            other: parameters outside the layers.
        """
        (layers, heads), neurons, d, k = masks.heads.shape, masks.neurons.shape[1], hidden_size, head_size
        head = 3 * (k * d + k) + d * k  # rows of Q, K, V with their biases; columns of the output projection
        neuron = (d + 1) + d  # a row with its bias, a column
        attention = heads * head + d  # the output bias belongs to the block
        ffn = neurons * neuron + d
        layer = attention + ffn + 2 * (2 * d)  # two LayerNorms of a scale and a shift
        encoder = layers * layer
        return Costs(head, attention, neuron, ffn, layer, encoder, encoder + other, d, k)

    def kept_by_layer(self, masks: Masks) -> npt.NDArray[np.int64]:
        """Return the parameters of each layer [L] that stay under `masks`."""
        heads, neurons = masks.heads.sum(axis=1), masks.neurons.sum(axis=1)
        biases = self.hidden_size * ((heads > 0).astype(np.int64) + (neurons > 0))
        norms = self.layer - self.attention - self.ffn
        kept: npt.NDArray[np.int64] = (
            norms * masks.layers + biases + self.head * heads + self.neuron * neurons
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

        Per head 4 T d k for its projections and 2 T² k for scores and context, per neuron 2 T d. Biases,
        softmax, LayerNorm and activations are left out, as is customary.
        """
        d, k, tokens = self.hidden_size, self.head_size, length
        per_head = 4 * tokens * d * k + 2 * tokens * tokens * k
        return int(per_head * masks.heads.sum() + 2 * tokens * d * masks.neurons.sum())


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
    config = model.config
    where = find_architecture(config.model_type)
    layers = encoder_layers(model, config.model_type)
    heads, head_size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    neurons = _linear(layers[0], where.ffn_in).out_features
    full = Masks.full(len(layers), heads, neurons)
    in_layers = sum(parameter.numel() for parameter in layers.parameters())
    in_model = sum(parameter.numel() for parameter in model.parameters())
    costs = Costs.of(full, hidden_size=config.hidden_size, head_size=head_size, other=in_model - in_layers)
    if in_layers != costs.encoder:
        raise BadInput(
            f"The layers of a plain {config.model_type} of this shape have {costs.encoder:,} parameters; "
            f"these have {in_layers:,}. Give a plain encoder: no adapters, no cross-attention, not yet cut."
        )
    parts = tuple(
        layer_parts(layer, where, index=index, heads=np.arange(heads), neurons=np.arange(neurons))
        for index, layer in enumerate(layers)
    )
    return Anatomy(
        config.model_type, parts, len(layers), heads, neurons, head_size, config.hidden_size, costs
    )


def encoder_layers(model: PreTrainedModel, model_type: str) -> nn.ModuleList:
    """Return the model's own list of the layers that are there."""
    layers = model.base_model.get_submodule(find_architecture(model_type).layers)
    if not isinstance(layers, nn.ModuleList):
        raise TypeError(f"Layers of {model_type} are a ModuleList; found was {type(layers).__name__}.")
    return layers


def layer_parts(
    layer: nn.Module, where: Architecture, *, index: int, heads: UnitNumbers, neurons: UnitNumbers
) -> LayerParts:
    """Return the parts of one layer that holds these dense heads and neurons; a block without any is gone."""
    attention = len(heads) > 0
    ffn = len(neurons) > 0
    return LayerParts(
        index,
        heads,
        neurons,
        query=_linear(layer, where.query) if attention else None,
        key=_linear(layer, where.key) if attention else None,
        value=_linear(layer, where.value) if attention else None,
        attention_output=_linear(layer, where.attention_output) if attention else None,
        ffn_in=_linear(layer, where.ffn_in) if ffn else None,
        ffn_out=_linear(layer, where.ffn_out) if ffn else None,
    )


def _linear(layer: nn.Module, path: str) -> nn.Linear:
    try:
        module = layer.get_submodule(path)
    except AttributeError as missing:
        raise BadInput(
            f"Every layer of a dense encoder has {path}; here it is missing. {missing}"
        ) from missing
    if not isinstance(module, nn.Linear):
        raise BadInput(
            f"Heads and neurons are cut out of plain linear maps; {path} is a {type(module).__name__}. "
            "Give a model without quantization or adapters."
        )
    return module
