"""What work would cost a GPU, counted on a CPU: operators that launch kernels, and waits of the host for the device.

An operator that is no view stands for a kernel. A host read is a value of a tensor that Python reads, or a copy between
host and device that blocks: the host waits until all work before it is done.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.model.device import forms_of_a_gpu

# Operators that a GPU's kernel cannot run without telling the host a number or a size.
READS = ("_local_scalar_dense", "nonzero", "masked_select", "bincount", "_unique", "equal", "is_nonzero")
BY_PLACES = (
    "index",
    "index_put",
    "index_put_",
    "_index_put_impl_",
)  # with a mask they look for its places first
# Of Python alone: on a CPU they go past the operators.
TO_HOST = ("tolist", "numpy", "cpu", "__array__")
FREE = ("detach", "empty", "new_empty", "empty_like", "alias", "lift_fresh")
# Dropout on a CPU is these two and a product; on a GPU it is one kernel.
CPU_DROPOUT = ("bernoulli_", "div_")
OURS = f"{Path(__file__).parents[2]}/"


@dataclass
class Counts:
    """Operators by name, and host reads by the place in Python that made them."""

    operators: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    on: bool = True  # whether it counts at this moment

    @property
    def kernels(self) -> int:
        """The number of operators that are no views."""
        return self.operators.total()

    def read(self, *, ours: bool = False) -> None:
        """Note a host read at the innermost line of this package, or else the innermost; `ours`: only if that is it."""
        # (file, line), the innermost first; `traceback.extract_stack` would read the files, too
        walked = traceback.walk_stack(sys._getframe())
        frames = ((frame.f_code.co_filename, line) for frame, line in walked)
        others = (frame for frame in frames if frame[0] != __file__)
        first = next(others)
        if ours and not first[0].startswith(OURS):
            return
        found = [frame for frame in (first, *others) if "/torch/" not in frame[0]]
        inner, place = found[0], next((frame for frame in found if frame[0].startswith(OURS)), found[0])
        at, via = (f"{Path(file).name}:{line}" for file, line in (place, inner))
        self.reads[at if inner == place else f"{at} (in {via})"] += 1


@contextmanager
def counted(*, on: bool = True) -> Iterator[Counts]:
    """Count inside the context, in the forms of a GPU; `on` may be switched there."""
    counts = Counts(on=on)
    with ExitStack() as stack:
        stack.enter_context(forms_of_a_gpu())
        stack.enter_context(_Functions(counts))
        stack.enter_context(_Operators(counts))
        yield counts


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        name = func._schema.name.removeprefix("aten::")
        if self._counts.on:
            by_mask = name in BY_PLACES and any(
                each is not None and each.dtype == torch.bool for each in args[1]
            )
            if name.startswith(READS) or by_mask:
                self._counts.read()
            elif func.namespace == "aten" and not func.is_view and name not in (*FREE, *CPU_DROPOUT):
                self._counts.operators[name] += 1
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self._counts.on and name in TO_HOST:
            self._counts.read()
        elif self._counts.on and _blocks(name, args, kwargs):
            self._counts.read(ours=True)  # within torch and transformers a tensor stays on its device
        return func(*args, **kwargs)


def _blocks(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether this makes a tensor of Python's numbers on a device, or may copy one there, and waits for it."""
    if name in ("tensor", "as_tensor"):
        return kwargs.get("device") is not None
    if name != "to" or kwargs.get("non_blocking"):
        return False
    given = (*args[1:], *kwargs.values())
    return any(isinstance(each, torch.device | str) and not isinstance(each, Tensor) for each in given)
