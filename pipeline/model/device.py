"""The device that networks are trained and measured on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

AUTO, CPU, CUDA = "auto", "cpu", "cuda"


def device_of(said: str = AUTO) -> torch.device:
    """Return the device that was said: "cpu", "cuda", or "auto", this process's GPU if there is one, else the CPU.

    A trial's driver says it, since a process may see GPUs that are not its own: Ray 2.60 shows all of a machine's to
    one that was given none.

    Raises:
        RuntimeError: a GPU was said, and torch has none in this process.
    """
    import torch

    there = torch.cuda.is_available() if said != CPU else False
    if said == CUDA and not there:
        raise RuntimeError(
            "This trial was given a GPU, and torch finds none here: is it a torch built for CUDA?"
        )
    return torch.device(CUDA if there else CPU)


def waits_cost(device: torch.device) -> bool:
    """Return whether every launch and every wait of the host costs, as on a GPU; a CPU is faster with other forms."""
    return device.type != CPU or bool(_FORMS_OF_A_GPU)


@contextmanager
def forms_of_a_gpu() -> Iterator[None]:
    """Compute on a CPU in the forms that are written for a GPU, inside the context: they are tested and counted so."""
    _FORMS_OF_A_GPU.append(True)
    try:
        yield
    finally:
        _FORMS_OF_A_GPU.pop()


_FORMS_OF_A_GPU: list[bool] = []
