"""Activation checkpointing: a layer's activations are computed again in the backward pass, not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, is_grad_enabled, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputing(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Within it layers keep their inputs alone, and are run again for the backward pass.

    Random numbers are drawn again as they were: gradients are the same, bit for bit on a CPU. Not by transformers'
    own switch, which leaves a hook's handle on the model that no copy of it survives.
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
