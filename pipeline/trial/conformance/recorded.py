"""A stand-in for CUDA graphs on a CPU: operators as they were called once, called again on the same memory.

As a graph does, it holds every number of Python's as it was when the work was recorded, and every tensor's place: what
changes from step to step must be a tensor that keeps its place. As while a graph is captured, nothing is changed by the
recording, and a value that the host reads is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.trial.conformance.counting import BY_PLACES, READS

Outputs = tuple[Tensor, ...]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that are called, and what they overwrite of what was there before."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # by storage: the tensor, and a copy of it
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        by_mask = name in BY_PLACES and any(each is not None and each.dtype == torch.bool for each in args[1])
        if name.startswith(READS) or by_mask:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        written = [
            tensor
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
            for tensor in tree_leaves(args[place] if place < len(args) else kwargs.get(argument.name))
            if isinstance(tensor, Tensor)
        ]
        for tensor in written:
            place = tensor.untyped_storage().data_ptr()
            if place not in self._made:
                self._before.setdefault(place, (tensor, tensor.detach().clone()))
        outputs = func(*args, **kwargs)
        made = [each for each in tree_leaves(outputs) if isinstance(each, Tensor)]
        if not func.is_view:
            self.calls.append((func, args, kwargs, [] if written else made))
            if not written:
                self._made |= {each.untyped_storage().data_ptr() for each in made}
        return outputs

    def undo(self) -> None:
        """Put back what was there before."""
        with torch.no_grad():
            for tensor, value in self._before.values():
                tensor.copy_(value)

    def replay(self) -> None:
        """Call the operators again; results go where they went."""
        with torch.no_grad():
            for func, args, kwargs, places in self.calls:
                found = [each for each in tree_leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
                if places:
                    for place, value in zip(places, found, strict=True):
                        place.copy_(value)


def recorded(work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """Record work, as `step_graphs.Capture` does."""
    recorder = Recorder()
    with recorder:
        outputs = work()
    recorder.undo()
    return recorder.replay, outputs
