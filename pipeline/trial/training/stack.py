"""Networks of one shape as one: their parameters are stacked, and one pass computes all of them.

    stacked parameters, inputs ─ vmap ─► outputs of all, and what hooked modules read and gave
                                              └─► each network's own hooks see theirs

Shapes: K networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from pipeline.model.copies import copied_modules
from pipeline.task.batches import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Seen = dict[str, dict[str, Tensor]]  # by module: tensors that it read and gave, by their place


@final
class Stack:
    """Networks of one shape whose parameters are parts of stacked tensors [K, ...]: what changes one changes both."""

    def __init__(
        self,
        models: Sequence[PreTrainedModel],
        dtype: torch.dtype | None,
        *,
        randomness: Literal["same", "different"],
    ) -> None:
        """Stack the networks' parameters.

        Args:
            models: hooks that they have only look at what modules read and give.
            dtype: what their products are computed in, if that is not the parameters' own.
            randomness: whether all draw the same dropout.
        """
        self._models, self._dtype, self._randomness = models, dtype, randomness
        self._base = _skeleton(models[0])
        self._cast = _in_products(models[0])
        self._buffers = dict(models[0].named_buffers())
        self._own: dict[str, list[nn.Parameter]] = {
            name: [model.get_parameter(name) for model in models] for name, _ in models[0].named_parameters()
        }
        self._whole: dict[str, Tensor] = {}
        for name, own in self._own.items():
            together = torch.stack([parameter.detach() for parameter in own])
            for parameter, part in zip(own, together.unbind(), strict=True):
                parameter.data = part
            self._whole[name] = together
        self._first: tuple[int, dict[str, Tensor]] = (0, {})
        self._recorder = _Recorder(self._base, _hooked(models))

    def forward(self, inputs: Batch, count: int, *, shared: bool, rows: Sequence[int] = ()) -> list[Any]:
        """Return the outputs of the first `count` networks, after their hooks have seen what their modules gave.

        Args:
            inputs: of the forward pass, [count, ...] each; if they are `shared`, of one network.
            count: of networks, the first ones.
            shared: whether all read the same.
            rows: of each network's batch, the first ones; empty: all.
        """

        def one(parameters: dict[str, Tensor], its: Batch) -> tuple[Any, Seen]:
            with self._recorder as seen:
                output = functional_call(self._base, (parameters, self._buffers), args=(), kwargs=its)
            return output, seen

        # under vmap autocast leaves the addition of a bias, and all that follows, in fp32
        cast = {
            name: together if self._dtype is None or name not in self._cast else together.to(self._dtype)
            for name, together in self._leaves(count).items()
        }
        found, seen = vmap(one, in_dims=(0, None if shared else 0), randomness=self._randomness)(cast, inputs)
        leaves, spec = tree_flatten((found, seen))
        unbound = [leaf.unbind() for leaf in leaves]  # one gradient for all, in place of one each
        outputs = []
        for place, model in enumerate(self._models[:count]):
            own = [_first(values[place], place, rows) for values in unbound]
            output, its = tree_unflatten(own, spec)
            for name in self._recorder.names:  # the whole network's hooks come before those of its parts
                self._recorder.show(model, name, its[name])
            outputs.append(output)
        return outputs

    def take_gradients(self) -> None:
        """Add to every network's gradients those of the last backward pass."""
        count, leaves = self._first
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                for parameter, part in zip(self._own[name][:count], leaf.grad.unbind(), strict=True):
                    parameter.grad = part if parameter.grad is None else parameter.grad + part
            leaf.grad = None

    def _leaves(self, count: int) -> dict[str, Tensor]:
        """Return the parameters of the first networks, [count, ...] each, that gradients are computed for."""
        if self._first[0] != count:
            self._first = (
                count,
                {
                    name: whole[:count].detach().requires_grad_(self._own[name][0].requires_grad)
                    for name, whole in self._whole.items()
                },
            )
        return self._first[1]


@final
class _Recorder:
    """Records what modules of the stack's skeleton read and gave in a pass, and shows it to a network's own hooks."""

    def __init__(self, base: nn.Module, names: Sequence[str]) -> None:
        self.names, self._seen = names, Seen()
        self._rest: dict[
            str, tuple[list[Any], TreeSpec]
        ] = {}  # what is no tensor, and how all is put together
        for name in names:
            base.get_submodule(name).register_forward_hook(self._recording(name))

    def __enter__(self) -> Seen:
        self._seen = {}
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._seen = {}

    def _recording(self, name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            leaves, spec = tree_flatten((args, output))
            self._seen[name] = {str(at): leaf for at, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
            self._rest[name] = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves], spec

        return hook

    def show(self, model: nn.Module, name: str, tensors: dict[str, Tensor]) -> None:
        """Call a network's hooks on a module as if the module had computed this.

        Raises:
            RuntimeError: a hook changes what the module gives.
        """
        leaves, spec = self._rest[name]
        whole = [tensors.get(str(at), leaf) for at, leaf in enumerate(leaves)]
        args, output = tree_unflatten(whole, spec)
        module: Any = model.get_submodule(name)
        module.forward = lambda *_: output
        try:
            given = module(*args)
        finally:
            del module.forward
        if given is not output:
            raise RuntimeError(
                f"Hooks on stacked networks may not change a module's output; one on {name!r} does."
            )


def _skeleton(model: nn.Module) -> nn.Module:
    """Return a copy of a network in training mode, without weights and hooks."""
    kept: dict[int, Any] = {}
    for parameter in model.parameters():
        kept[id(parameter)] = nn.Parameter(
            parameter.detach().to("meta"), requires_grad=parameter.requires_grad
        )
    return copied_modules(model, kept).train()


def _hooked(models: Sequence[nn.Module]) -> list[str]:
    """Return the names of the modules that have hooks in a network, from the whole network inwards."""
    names = [name for name, _ in models[0].named_modules()]
    have = {
        name
        for model in models
        for name, module in model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    }
    return [name for name in names if name in have]


def _in_products(model: nn.Module) -> set[str]:
    """Return the names of the weights and biases of linear maps."""
    return {
        f"{name}.{each}" if name else each
        for name, module in model.named_modules()
        if not isinstance(module, nn.Embedding) and getattr(getattr(module, "weight", None), "ndim", 0) == 2
        for each, _ in module.named_parameters(recurse=False)
    }


def part(batch: Batch, place: int, rows: Sequence[int]) -> Batch:
    """Return a network's own batch, of a batch [K, B, ...] of which it has the first of `rows`; empty: all."""
    return {
        name: _first(value[place], place, rows) if value.numel() else value for name, value in batch.items()
    }


def _first(value: Tensor, place: int, rows: Sequence[int]) -> Tensor:
    """Return the rows [b, ...] that are a network's own, where its batch was filled up to those of the largest."""
    if not rows or rows[place] == max(rows) or not value.ndim or len(value) != max(rows):
        return value
    return value[: rows[place]]
