"""The device that networks are trained and measured on."""

from __future__ import annotations

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
