"""Encoders whose layers differ: fewer heads here, no feed-forward block there. For transformers 4.57 and 5.

This file is copied beside exported weights, so that `from_pretrained(folder, trust_remote_code=True)` finds it:
it imports torch and transformers only. It builds the library's own network and narrows its layers before the weights
are loaded; no line of the library's code is repeated here. `pipeline.model.surgery` cuts with the same stand-ins and
the same table of places. `config.cut_layout` has an entry for each layer that is left:

    {"layer": its number in the dense model, "heads": how many it kept, "neurons": how many it kept}

0 means that the block is gone: y = LayerNorm(x) is left of it, exactly, and without a residual addition.
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
    """What a removed block returns in place of its branch: x + nothing is x, without a kernel."""

    def __add__(self, residual: Tensor) -> Tensor:
        """Return the residual itself."""
        return residual


NOTHING = Nothing()


def nothing() -> Nothing | float:
    """Return what is added in place of a removed block; under torch.compile a 0.0, which the compiler drops."""
    return 0.0 if torch.compiler.is_compiling() else NOTHING


class NoAttention(nn.Module):
    """Replaces an attention block without heads; it has no attention weights to return."""

    def forward(self, *_args: object, **_kwargs: object) -> tuple[Nothing | float, None]:
        """Return (nothing, None), whatever the arguments: transformers 4 and 5 differ in them."""
        return nothing(), None


class NoFfn(nn.Module):
    """Replaces a feed-forward block without neurons."""

    def forward(self, _hidden_states: Tensor) -> Nothing | float:
        """Return nothing."""
        return nothing()


class NormOnly(nn.Module):
    """Replaces the module that projects a branch, adds it and normalises: LayerNorm(x)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.LayerNorm = norm  # the library's name, so that names in the state dict stay

    def forward(self, _nothing: Nothing | float, residual: Tensor) -> Tensor:
        """Return LayerNorm(residual)."""
        normed: Tensor = self.LayerNorm(residual)
        return normed


class Architecture(NamedTuple):
    """Where one family keeps its parts: `layers` is a path below the base model, the rest below a layer.

    `attention` computes the heads and holds their number (`head_count`) and total width (`head_width`).
    `attention_norm` and `ffn_norm` are the modules that project, add and normalise, with a `LayerNorm` in
    them; None where the layer itself adds and normalises.
    """

    layers: str
    query: str
    key: str
    value: str
    attention_output: str
    ffn_in: str
    ffn_out: str
    attention: str
    attention_norm: str | None
    ffn: str
    ffn_norm: str | None
    head_count: str
    head_width: str


BERT = Architecture(
    layers="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    attention="attention.self",
    attention_norm="attention.output",
    ffn="intermediate",
    ffn_norm="output",
    head_count="num_attention_heads",
    head_width="all_head_size",
)
DISTILBERT = Architecture(
    layers="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    attention="attention",
    attention_norm=None,
    ffn="ffn",
    ffn_norm=None,
    head_count="n_heads",
    head_width="dim",
)


def narrow(base: nn.Module, config: Any, where: Architecture) -> None:
    """Narrow the layers of a newly built dense network to the sizes in `config.cut_layout`."""
    if config.cut_format > FORMAT:
        raise ValueError(
            f"A cut network's layout is read by code of the same format or a newer one; it has format "
            f"{config.cut_format}, this code knows {FORMAT}. Update prunefront, or empty the cache of "
            "transformers' modules."
        )
    if config.cut_layout is None:
        return
    head_size = config.hidden_size // config.num_attention_heads
    layers: Any = base.get_submodule(where.layers)
    for layer, left in zip(layers, config.cut_layout, strict=True):
        if left["heads"] == 0:
            remove_block(layer, where.attention, where.attention_norm, NoAttention())
        elif left["heads"] < config.num_attention_heads:
            width = left["heads"] * head_size
            for path in (where.query, where.key, where.value):
                replace_module(layer, path, nn.Linear(config.hidden_size, width))
            replace_module(layer, where.attention_output, nn.Linear(width, config.hidden_size))
            set_heads(layer, where, count=left["heads"], width=width)
        if left["neurons"] == 0:
            remove_block(layer, where.ffn, where.ffn_norm, NoFfn())
        elif left["neurons"] < layer.get_submodule(where.ffn_in).out_features:
            replace_module(layer, where.ffn_in, nn.Linear(config.hidden_size, left["neurons"]))
            replace_module(layer, where.ffn_out, nn.Linear(left["neurons"], config.hidden_size))


def remove_block(layer: nn.Module, path: str, norm_path: str | None, stand_in: nn.Module) -> None:
    """Replace a layer's attention or feed-forward block by its LayerNorm."""
    replace_module(layer, path, stand_in)
    if norm_path is not None:  # else the layer itself adds the nothing and normalises
        replace_module(layer, norm_path, NormOnly(layer.get_submodule(f"{norm_path}.LayerNorm")))


def set_heads(layer: nn.Module, where: Architecture, *, count: int, width: int) -> None:
    """Set the number of heads and their total width: transformers 4 splits the heads by them."""
    attention = layer.get_submodule(where.attention)
    setattr(attention, where.head_count, count)
    setattr(attention, where.head_width, width)


def replace_module(layer: nn.Module, path: str, module: nn.Module) -> None:
    """Set the module at a path below a layer; `nn.Module.set_submodule` is missing in older torch."""
    parent, _, name = path.rpartition(".")
    setattr(layer.get_submodule(parent), name, module)


class _Layout:
    """The fields of a cut network's configuration beside the dense one's; `num_hidden_layers` counts layers left."""

    cut_layout: Any = None  # None: nothing is cut
    cut_format: Any = FORMAT


class _Cut:
    """The library's network, narrowed before its weights are loaded."""

    where = BERT

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        narrow(self.base_model, config, self.where)
        self.post_init()


# `_auto_class` makes save_pretrained copy this file, also in transformers 4.


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
    where = DISTILBERT
    _auto_class = "AutoModel"


class CutDistilBertForSequenceClassification(_Cut, DistilBertForSequenceClassification):
    config_class = CutDistilBertConfig
    where = DISTILBERT
    _auto_class = "AutoModelForSequenceClassification"
