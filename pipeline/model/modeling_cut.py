"""Networks whose layers differ: fewer heads here, no feed-forward block there. For transformers 4.57 and 5.

This file is copied beside exported weights, so that `from_pretrained(folder, trust_remote_code=True)` finds it:
it imports torch, transformers and its neighbour only. It builds the library's own network and narrows its layers
before the weights are loaded; no line of the library's code is repeated here. A network's class is the library's with
Cut before its name: CutBertModel. Its configuration also has

    cut_row     where its family keeps the parts of a layer: an Architecture as JSON
    cut_layers  the number of layers of the dense model
    cut_layout  an entry for each layer that is left: {"layer": its number in the dense model, "heads": how many it
                kept, "neurons": how many it kept}; "kept_heads": which, where layers share a table of all heads

0 means that the block is gone: only its LayerNorm is left of a post-LayerNorm block, nothing of others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput

from .cut_blocks import (
    Architecture,
    NoAttention,
    NoLayer,
    base_of,
    cut_block,
    features_out,
    pick_heads,
    replace_module,
)

FORMAT = 1  # of cut_layout; a newer one needs a newer file
AUTO_CLASSES = {  # by the end of a class's name
    "Config": "AutoConfig",
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "Model": "AutoModel",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
    "ForQuestionAnswering": "AutoModelForQuestionAnswering",
    "ForImageClassification": "AutoModelForImageClassification",
}
IMAGES = "ForImageClassification"


def narrow(model: Any, config: Any) -> None:
    """Narrow the layers of a newly built dense network to the sizes in `config.cut_layout`."""
    where = Architecture.from_json(config.cut_row)
    base = base_of(model, where)
    dense = [*base.get_submodule(where.layers)]
    layers = []
    for place, left in enumerate(config.cut_layout):
        layer = dense[place if config.cut_layers is None else left["layer"]]
        output = layer.get_submodule(where.ffn.parts[-1].path)
        neurons = output.weight.numel() // features_out(output)
        for branch, units, kept in (
            (where.attention, getattr(config, where.units), left["heads"]),
            (where.ffn, neurons, left["neurons"]),
        ):
            cut_block(layer, where, branch, torch.arange(units, device="cpu") < kept)
        if len(left.get("kept_heads", ())) > 0:
            pick_heads(layer.get_submodule(where.attention.block), where, left["kept_heads"])
        layers.append(layer)
    replace_module(base, where.layers, nn.ModuleList(layers))
    settle(model, where)


def settle(model: Any, where: Architecture) -> None:
    """Give the layers that are left their new places; put a stand-in where there are none and the model needs one."""
    layers = base_of(model, where).get_submodule(where.layers)
    for place, layer in zip(_cache_places(layers, where, model.config), layers, strict=True):
        for module in layer.modules():
            if "layer_idx" in vars(module):  # its place in a cache of keys and values
                module.layer_idx = place
    if where.needs_layer and not len(layers):
        layers.append(NoLayer())


def _cache_places(layers: Any, where: Architecture, config: Any) -> list[int]:
    """Return the place of each layer in a cache of keys and values: of layers of one type those with attention first.

    The library reads the length of what is cached from the first place, or the first of a type.
    """
    types = getattr(config, "layer_types", None) or []
    types = types if len(types) == len(layers) else [None] * len(layers)
    places = [0] * len(layers)
    for kind in {*types}:
        own = [number for number, each in enumerate(types) if each == kind]
        idle = {n for n in own if isinstance(layers[n].get_submodule(where.attention.block), NoAttention)}
        for place, number in zip(own, sorted(own, key=lambda n: n in idle), strict=True):
            places[number] = place
    return places


@contextmanager
def _as_dense(config: Any, dense_class: Any) -> Iterator[None]:
    """Make a configuration that of the dense network in the context: its layers are built with their own types."""
    own, layers, types = type(config), config.num_hidden_layers, getattr(config, "layer_types", None)
    depth, code = config.cut_layers, vars(config).pop("auto_map", None)
    config.__class__ = dense_class
    if depth is not None:
        config.num_hidden_layers = depth
        if types is not None:
            # without any layer there is one type all the same
            by_number = {left["layer"]: kind for left, kind in zip(config.cut_layout, types, strict=False)}
            config.layer_types = [by_number.get(n, "full_attention") for n in range(depth)]
    try:
        yield
    finally:
        config.__class__, config.num_hidden_layers = own, layers
        if types is not None:
            config.layer_types = types
        if code is not None:
            config.auto_map = code


class _Layout:
    """The fields of a cut network's configuration beside the dense one's; `num_hidden_layers` counts layers left."""

    cut_row: Any = None
    cut_layers: Any = None
    cut_layout: Any = None  # None: nothing is cut
    cut_format: Any = FORMAT


class _Cut:
    """The library's network, narrowed before its weights are loaded."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        if config.cut_format > FORMAT:
            raise ValueError(
                f"A cut network's layout is read by code of the same format or a newer one; it has format "
                f"{config.cut_format}, this code knows {FORMAT}. Update prunefront, or empty the cache of "
                "transformers' modules."
            )
        if config.cut_layout is None:
            super().__init__(config, *args, **kwargs)
            return
        with _as_dense(config, type(self).dense_config):
            super().__init__(config, *args, **kwargs)
        narrow(self, config)
        self.post_init()


class _PooledHead:
    """A classifier of images: a linear map of what the base model pools. Of families for which the library has none."""

    base_class: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        own: Any = self
        setattr(own, own.base_model_prefix, self.base_class(config))
        own.classifier = nn.Linear(config.hidden_size, config.num_labels)
        own.post_init()

    def forward(self, pixel_values: torch.Tensor, labels: Any = None, **kwargs: Any) -> Any:
        """Return logits [B, C] of images [B, channels, height, width], and the loss if there are labels [B]."""
        own: Any = self
        kwargs.pop("return_dict", None)
        logits = own.classifier(own.base_model(pixel_values, **kwargs).pooler_output)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


def library_class(name: str) -> Any:
    """Return the library's class of a name; None if there is none, and no base model to put a head on."""
    found, family = getattr(transformers, name, None), name.removesuffix(IMAGES)
    parent = getattr(transformers, f"{family}PreTrainedModel", None)
    if found is not None or parent is None or not name.endswith(IMAGES):
        return found
    if name not in globals():
        fields = {"__module__": __name__, "base_class": getattr(transformers, f"{family}Model")}
        globals()[name] = type(name, (_PooledHead, parent), fields)
    return globals()[name]


def __getattr__(name: str) -> Any:
    """Make the class of a cut network, or of its configuration, from the library's of the same name."""
    dense = library_class(name.removeprefix("Cut")) if name.startswith("Cut") else None
    end = next((end for end in AUTO_CLASSES if name.endswith(end)), None)
    if dense is None or end is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # `_auto_class` makes save_pretrained copy this file, also in transformers 4.
    fields = {"__module__": __name__, "_auto_class": AUTO_CLASSES[end]}
    if end == "Config":
        made = type(name, (_Layout, dense), {**fields, "model_type": f"cut_{dense.model_type}"})
    else:
        config = dense.config_class
        made = type(
            name,
            (_Cut, dense),
            {**fields, "dense_config": config, "config_class": __getattr__(f"Cut{config.__name__}")},
        )
    return globals().setdefault(name, made)
