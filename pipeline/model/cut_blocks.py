"""Where an architecture keeps the parts of its layers, and how a block is narrowed or removed.

This file is copied beside exported weights, with `modeling_cut.py`, which imports it: it imports torch only.
`pipeline.model.surgery` cuts with the same functions. Of a removed block in a post-LayerNorm layer y = LayerNorm(x) is
left, in other layers y = x, exactly, and without an addition.
"""

from collections.abc import Sequence
from functools import cache
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Part(NamedTuple):
    """What the units of a block hold of one linear map: features of a side of its matrix [out, in].

    The side has `strides` equal parts (fused maps: three for queries, keys and values); in each of them every unit has
    the same number of neighbouring features.
    """

    name: str  # in files of single weights' scores
    path: str  # below the layer
    side: str = "out"
    strides: int = 1
    optional: bool = False  # whether some models of the family lack it


class Branch(NamedTuple):
    """A residual branch of a layer; paths are below the layer. The output of the last map in `parts` is the branch."""

    block: str  # the module that computes the branch; it is replaced when it has no unit left
    parts: tuple[Part, ...]
    pre_norm: str | None = None  # normalises what the block reads; it goes with the block
    post_norm: str | None = None  # normalises residual + branch; it stays with the layer
    adds: str | None = (
        None  # projects, adds and normalises, in one module that holds post_norm as `LayerNorm`
    )
    dropout: str | None = None  # between the block and the addition
    scale: str | None = (
        None  # factors between the block and the addition (LayerScale); they go with the block
    )
    rest: tuple[str, ...] = ()  # other modules with parameters, which go with the block


class Architecture(NamedTuple):
    """Where one family keeps the parts of its layers."""

    layers: str  # below the base model
    attention: Branch
    ffn: Branch
    cross_attention: Branch | None = None  # of decoders that read an encoder; no row has one yet
    units: str = (
        "num_attention_heads"  # the configuration's number of units of attention: heads, key-value groups
    )
    neurons: str = "intermediate_size"  # the configuration's number of neurons
    head_count: tuple[str, ...] = ()  # the block's attributes with its number of heads,
    head_width: tuple[str, ...] = ()  # and with their features together
    head_table: str | None = None  # the block's argument with scores of all heads, from a shared table
    layer_attributes: tuple[str, ...] = ()  # that the model reads of its layers
    window: str | None = None  # the block's attribute: a token reads those nearer than this
    relative: str | None = (
        None  # embeddings of relative positions below the base model, read through query and key
    )
    returns_tuple: bool = False  # whether a layer does; the hidden state is its first entry
    needs_layer: bool = False  # whether the model fails without any layer
    causal: bool = False
    plain_scores: bool = False  # whether attention is softmax(q k / sqrt(size)), with nothing before or added
    adds_mask: bool = (
        False  # whether it adds a mask [B, 1, 1, T] to scores as it is, and no head reads the mask
    )
    plain_heads: bool = (
        False  # whether the library's configuration can say that there are fewer heads of one size
    )
    own_head: bool = (
        False  # whether the library has no classifier: a linear map of what its base model pools is one
    )
    fixed_pattern: bool = (
        False  # whether types of layers follow from their places; the first is built otherwise
    )
    positions_after_padding: bool = False  # whether positions are counted from the padding token's number
    requires: tuple[
        tuple[str, int], ...
    ] = ()  # entries of the configuration: with others there is more to cut

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Architecture":
        """Return the row that `cut_row` holds."""
        branches: dict[str, Branch] = {
            name: Branch(
                **{
                    **{key: _as_tuple(value) for key, value in entry[name].items()},
                    "parts": tuple(Part(**part) for part in entry[name]["parts"]),
                }
            )
            for name in ("attention", "ffn", "cross_attention")
            if name in entry
        }
        tuples = {name: _as_tuple(value) for name, value in entry.items() if isinstance(value, list)}
        return cls(**{**entry, **tuples, **branches})


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


class Nothing:
    """What a removed block returns in place of its branch: x + nothing is x, without a kernel."""

    def __add__(self, residual: Tensor) -> Tensor:
        """Return the residual itself."""
        return residual

    __radd__ = __add__


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


class Through(nn.Module):
    """Stands before a module between a block and the addition: what a removed block returns passes it by."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module  # without parameters: no names in the state dict change

    def forward(self, branch: Any) -> Any:
        """Return the module's output for a tensor, anything else as it is."""
        return self.module(branch) if isinstance(branch, Tensor) else branch


class NoLayer(nn.Module):
    """Stands where a model without layers would fail."""

    def forward(self, hidden_states: Tensor, *_args: object, **_kwargs: object) -> tuple[Tensor, None]:
        """Return (the hidden state, None)."""
        return hidden_states, None


class PicksHeads(nn.Module):
    """Gives a block, of a shared table's scores of all heads [1, H, T, T], those of the heads that it has."""

    kept_heads: Any  # numbers in the dense model
    table_argument: int

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block."""
        place = self.table_argument
        if args[place] is not None:
            args = (*args[:place], args[place][:, self.kept_heads], *args[place + 1 :])
        return super().forward(*args, **kwargs)


@cache
def _picking(kind: Any) -> Any:
    return type(f"{kind.__name__}OfSomeHeads", (PicksHeads, kind), {"__module__": __name__})


def pick_heads(block: Any, where: Architecture, kept: Sequence[int]) -> None:
    """Note which heads of the dense model a block has, if its family shares a table of all heads."""
    if where.head_table is not None:
        if not isinstance(block, PicksHeads):
            # in another place in another version of the library
            block.table_argument = [*signature(block.forward).parameters].index(where.head_table)
            kind: Any = type(block)  # any, since mypy takes a class for no key
            block.__class__ = _picking(kind)
        block.kept_heads = [int(head) for head in kept]


def base_of(model: Any, where: Architecture) -> Any:
    """Return the base model, the one whose layers the row names: a model itself, or the one below its head."""
    try:
        model.get_submodule(where.layers)
    except AttributeError:
        return model.base_model
    return model


def cut_block(layer: nn.Module, where: Architecture, branch: Branch, kept: Tensor) -> None:
    """Narrow a block to the units of `kept` [u], a mask of those that it has, or remove it."""
    if bool(kept.all()):  # also if none was left
        return
    if not bool(kept.any()):
        _remove_block(layer, branch, NoAttention() if branch is where.attention else NoFfn())
        return
    features = torch.zeros(0)
    for part in branch.parts:
        if (linear := part_of(layer, part)) is not None:
            features = features_of(linear, part, kept)
            replace_module(layer, part.path, narrowed(linear, features, part.side))
    if branch is where.attention:
        block = vars(layer.get_submodule(branch.block))
        block.update({name: int(kept.sum()) for name in where.head_count if name in block})
        block.update({name: len(features) for name in where.head_width if name in block})


def _remove_block(layer: nn.Module, branch: Branch, stand_in: nn.Module) -> None:
    """Replace a block by what is left of it without its branch."""
    replace_module(layer, branch.block, stand_in)
    if branch.adds is not None and branch.post_norm is not None:
        replace_module(layer, branch.adds, NormOnly(layer.get_submodule(branch.post_norm)))
    for path in (branch.pre_norm, branch.scale):
        if path is not None:
            replace_module(layer, path, nn.Identity())
    if branch.dropout is not None and not isinstance(layer.get_submodule(branch.dropout), Through):
        replace_module(layer, branch.dropout, Through(layer.get_submodule(branch.dropout)))


def part_of(layer: nn.Module, part: Part) -> Any:
    """Return a linear map; None if it is optional and not there."""
    parent, _, name = part.path.rpartition(".")
    if part.optional and name not in layer.get_submodule(parent)._modules:
        return None
    return layer.get_submodule(part.path)


def features_out(linear: Any) -> int:
    """Return the number of outputs of a map: nn.Linear holds [out, in], the library's Conv1D [in, out]."""
    return int(linear.weight.shape[0 if isinstance(linear, nn.Linear) else 1])


def features_of(linear: Any, part: Part, kept: Tensor) -> Tensor:
    """Return the numbers of the features that the kept units hold of the part's side, ascending."""
    outputs = features_out(linear)
    size = outputs if part.side == "out" else linear.weight.numel() // outputs
    numbers = torch.arange(size, device="cpu").view(part.strides, len(kept), -1)
    return numbers[:, kept.cpu()].flatten()


@torch.no_grad()
def narrowed(linear: Any, kept: Tensor, side: str) -> nn.Module:
    """Return a linear map to, or from, only the features of `kept`."""
    rows_first = isinstance(linear, nn.Linear)
    weight, bias = linear.weight, linear.bias
    kept = kept.to(weight.device)
    narrow_weight = weight.index_select(int((side == "in") == rows_first), kept)
    outputs, inputs = narrow_weight.shape if rows_first else narrow_weight.shape[::-1]
    # not by its class's own __init__: that initialises a weight, which takes longer than all else here
    kind: Any = type(linear)
    made: nn.Module = kind.__new__(kind)
    nn.Module.__init__(made)
    own = {name: value for name, value in vars(linear).items() if name not in vars(made)}
    sizes = {"out_features": outputs, "in_features": inputs} if rows_first else {"nf": outputs, "nx": inputs}
    vars(made).update(own | sizes, training=linear.training)
    made.weight = nn.Parameter(narrow_weight, requires_grad=weight.requires_grad)
    made.register_parameter("bias", None)
    if bias is not None:
        narrow_bias = bias.index_select(0, kept) if side == "out" else bias.clone()
        made.bias = nn.Parameter(narrow_bias, requires_grad=bias.requires_grad)
    return made


def replace_module(layer: nn.Module, path: str, module: nn.Module) -> None:
    """Set the module at a path below a layer; `nn.Module.set_submodule` is missing in older torch."""
    parent, _, name = path.rpartition(".")
    setattr(layer.get_submodule(parent), name, module)
