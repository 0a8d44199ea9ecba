"""Activation checkpointing: a layer's activations are not kept, but computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, is_grad_enabled, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recompute_activations(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Keep only the layers' inputs, and run them again for the backward pass, inside the context.

    The same random numbers are drawn again, so gradients are the same, bit for bit on a CPU. The switch of
    transformers is not used: it leaves a hook's handle on the model that makes a copy of it fail.
    """

    def kept(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*args: Any, **more: Any) -> Tensor:
            if not is_grad_enabled():
                return forward(*args, **more)
            return cast("Tensor", checkpoint(forward, *args, use_reentrant=False, **more))

        return run

    for layer in layers:
        layer.forward = kept(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
