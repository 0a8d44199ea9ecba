"""Encoders whose layers differ: fewer heads here, no feed-forward block there. For transformers 4.57 and 5.

This file is copied beside exported weights, so that `from_pretrained(folder, trust_remote_code=True)` finds it:
it needs torch and transformers only. The library's own network is built, and made smaller before its weights
are read; no line of its code is repeated here. `config.cut_layout` has an entry for each layer that is left:

    {"layer": its number in the dense model, "heads": how many it kept, "neurons": how many it kept}

0 means that the block is gone. What is left of it is y = LayerNorm(x), exactly, and costs nothing more.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CamembertConfig,
    CamembertForSequenceClassification,
    CamembertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    ElectraConfig,
    ElectraForSequenceClassification,
    ElectraModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

FORMAT = 1  # of cut_layout; a newer one needs a newer file


class Nothing:
    """What a block that is gone gives its layer to add: x + nothing is x, without a kernel."""

    def __add__(self, residual: Tensor) -> Tensor:
        """The residual itself."""
        return residual


NOTHING = Nothing()


def nothing() -> Nothing | float:
    """What is added where a block was; a compiler, which knows no such object, gets a 0 to leave out itself."""
    return 0.0 if torch.compiler.is_compiling() else NOTHING


class NoAttention(nn.Module):
    """Stands where the heads were, and has no attention weights to show."""

    def forward(self, *_args: object, **_kwargs: object) -> tuple[Nothing | float, None]:
        """(nothing, None), whatever the layer hands over: the versions differ in that."""
        return nothing(), None


class NoFfn(nn.Module):
    """Stands where the neurons were."""

    def forward(self, _hidden_states: Tensor) -> Nothing | float:
        """Nothing."""
        return nothing()


class NormOnly(nn.Module):
    """Stands where a branch was projected, added and normalised."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.LayerNorm = norm  # the library's name: the weights keep theirs

    def forward(self, _nothing: Nothing | float, residual: Tensor) -> Tensor:
        """LayerNorm(residual)."""
        normed: Tensor = self.LayerNorm(residual)
        return normed


class Places(NamedTuple):
    """Paths below the base model (`layers`) or a layer; a norm of None: the layer itself adds and normalises."""

    layers: str
    attention: str
    projections: tuple[str, ...]
    attention_out: str
    attention_norm: str | None
    head_count: str
    head_width: str
    ffn: str
    ffn_in: str
    ffn_out: str
    ffn_norm: str | None


BERT = Places(
    layers="encoder.layer",
    attention="attention.self",
    projections=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_out="attention.output.dense",
    attention_norm="attention.output",
    head_count="num_attention_heads",
    head_width="all_head_size",
    ffn="intermediate",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    ffn_norm="output",
)
DISTILBERT = Places(
    layers="transformer.layer",
    attention="attention",
    projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    attention_out="attention.out_lin",
    attention_norm=None,
    head_count="n_heads",
    head_width="dim",
    ffn="ffn",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    ffn_norm=None,
)


def narrow(base: nn.Module, config: Any, places: Places) -> None:
    """Makes the layers of a dense network that was just built as small as `config.cut_layout` says."""
    if config.cut_format > FORMAT:
        raise ValueError(
            f"A cut network's layout is read by code as new as it is; it has format {config.cut_format}, this code "
            f"knows {FORMAT}. Update prunefront, or empty the cache of transformers' modules."
        )
    if config.cut_layout is None:
        return
    head_size = config.hidden_size // config.num_attention_heads
    layers: Any = base.get_submodule(places.layers)
    for layer, left in zip(layers, config.cut_layout, strict=True):
        if left["heads"] == 0:
            _take_away(layer, places.attention, places.attention_norm, NoAttention())
        elif left["heads"] < config.num_attention_heads:
            width = left["heads"] * head_size
            for path in places.projections:
                _put(layer, path, nn.Linear(config.hidden_size, width))
            _put(layer, places.attention_out, nn.Linear(width, config.hidden_size))
            attention = layer.get_submodule(places.attention)
            setattr(attention, places.head_count, left["heads"])  # transformers 4 counts by it
            setattr(attention, places.head_width, width)
        if left["neurons"] == 0:
            _take_away(layer, places.ffn, places.ffn_norm, NoFfn())
        elif left["neurons"] < layer.get_submodule(places.ffn_in).out_features:
            _put(layer, places.ffn_in, nn.Linear(config.hidden_size, left["neurons"]))
            _put(layer, places.ffn_out, nn.Linear(left["neurons"], config.hidden_size))


def _take_away(layer: nn.Module, path: str, norm_path: str | None, nothing: nn.Module) -> None:
    _put(layer, path, nothing)
    if norm_path is not None:
        _put(layer, norm_path, NormOnly(layer.get_submodule(f"{norm_path}.LayerNorm")))


def _put(layer: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(layer.get_submodule(parent), name, module)


class _Layout:
    """What a cut network's configuration has beyond the dense one's; `num_hidden_layers` counts what is left."""

    cut_layout: Any = None  # None: nothing is cut
    cut_format: Any = FORMAT


class _Cut:
    """The library's network, made smaller before its weights are read."""

    places = BERT

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        narrow(self.base_model, config, self.places)
        self.post_init()


# `_auto_class` makes save_pretrained copy this file again, also in transformers 4.


class CutBertConfig(_Layout, BertConfig):
    model_type = "cut_bert"
    _auto_class = "AutoConfig"


class CutBertModel(_Cut, BertModel):
    config_class = CutBertConfig
    _auto_class = "AutoModel"


class CutBertForSequenceClassification(_Cut, BertForSequenceClassification):
    config_class = CutBertConfig
    _auto_class = "AutoModelForSequenceClassification"


class CutRobertaConfig(_Layout, RobertaConfig):
    model_type = "cut_roberta"
    _auto_class = "AutoConfig"


class CutRobertaModel(_Cut, RobertaModel):
    config_class = CutRobertaConfig
    _auto_class = "AutoModel"


class CutRobertaForSequenceClassification(_Cut, RobertaForSequenceClassification):
    config_class = CutRobertaConfig
    _auto_class = "AutoModelForSequenceClassification"


class CutXLMRobertaConfig(_Layout, XLMRobertaConfig):
    model_type = "cut_xlm-roberta"
    _auto_class = "AutoConfig"


class CutXLMRobertaModel(_Cut, XLMRobertaModel):
    config_class = CutXLMRobertaConfig
    _auto_class = "AutoModel"


class CutXLMRobertaForSequenceClassification(_Cut, XLMRobertaForSequenceClassification):
    config_class = CutXLMRobertaConfig
    _auto_class = "AutoModelForSequenceClassification"


class CutCamembertConfig(_Layout, CamembertConfig):
    model_type = "cut_camembert"
    _auto_class = "AutoConfig"


class CutCamembertModel(_Cut, CamembertModel):
    config_class = CutCamembertConfig
    _auto_class = "AutoModel"


class CutCamembertForSequenceClassification(_Cut, CamembertForSequenceClassification):
    config_class = CutCamembertConfig
    _auto_class = "AutoModelForSequenceClassification"


class CutElectraConfig(_Layout, ElectraConfig):
    model_type = "cut_electra"
    _auto_class = "AutoConfig"


class CutElectraModel(_Cut, ElectraModel):
    config_class = CutElectraConfig
    _auto_class = "AutoModel"


class CutElectraForSequenceClassification(_Cut, ElectraForSequenceClassification):
    config_class = CutElectraConfig
    _auto_class = "AutoModelForSequenceClassification"


class CutDistilBertConfig(_Layout, DistilBertConfig):
    model_type = "cut_distilbert"
    _auto_class = "AutoConfig"


class CutDistilBertModel(_Cut, DistilBertModel):
    config_class = CutDistilBertConfig
    places = DISTILBERT
    _auto_class = "AutoModel"


class CutDistilBertForSequenceClassification(_Cut, DistilBertForSequenceClassification):
    config_class = CutDistilBertConfig
    places = DISTILBERT
    _auto_class = "AutoModelForSequenceClassification"
