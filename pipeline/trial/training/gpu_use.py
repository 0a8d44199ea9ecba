"""How busy a trial keeps its GPU: the share of time in which a kernel runs, sampled between steps.

It is NVML's number, of the whole card: it says something of a trial that has the card to itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import fmean
from typing import final

import torch

WARM_S = 3.0  # of a trial, in which kernels are chosen and nothing is typical
EVERY_S = 0.5  # NVML's number is of the last sixth of a second to a second
BUSY = "gpu_busy"  # a key of provenance

Read = Callable[[], float]  # the percentage of time in which a kernel ran, lately


def nvml_reader(device: torch.device) -> Read | None:
    """Return what reads a GPU's use, 0 to 100; None on a CPU, and where NVML or nvidia-ml-py is not installed."""
    if device.type != "cuda":
        return None
    try:
        torch.cuda.utilization(device)
    except Exception:  # torch raises what it finds: no module, no driver, no permission
        return None
    return lambda: torch.cuda.utilization(device)


@final
class GpuUse:
    """Samples of a GPU's use in one trial."""

    def __init__(self, read: Read | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what reads the percentage; None: nothing is known."""
        self._read, self._clock = read, clock
        self._next = clock() + WARM_S if read is not None else math.inf
        self._found: list[float] = []

    def sample(self) -> None:
        """Read the use, if it is due; called between steps."""
        now = self._clock()
        if self._read is not None and now >= self._next:
            self._next = now + EVERY_S
            self._found.append(self._read() / 100)

    def facts(self) -> dict[str, str]:
        """Return for a record the mean share of time, 0 to 1, if it was sampled."""
        return {BUSY: f"{fmean(self._found):.3f}"} if self._found else {}
