"""Clocks: when a device has finished its work."""

from __future__ import annotations

import time
from typing import Protocol

import torch

MILLISECONDS = 1000.0


class Clock(Protocol):
    """Marks points in time on a device, without waiting for it."""

    def mark(self) -> None:
        """Mark this point in time."""

    def read(self) -> list[float]:
        """Wait for the device; return the milliseconds from the first mark to each mark since the last reading."""


class CpuClock:
    """The wall clock: on a CPU the work is finished when the call returns."""

    def __init__(self) -> None:
        self._marks: list[float] = []

    def mark(self) -> None:
        """Mark this point in time."""
        self._marks.append(time.perf_counter())

    def read(self) -> list[float]:
        """Return the milliseconds from the first mark to each."""
        marks, self._marks = self._marks, []
        return [MILLISECONDS * (mark - marks[0]) for mark in marks]


class CudaClock:
    """Events in the GPU's own queue: they record when it reached them, not when they were enqueued."""

    def __init__(self) -> None:
        self._marks: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Mark the point in time when the GPU gets here."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)

    def read(self) -> list[float]:
        """Return the milliseconds from the first mark to each."""
        marks, self._marks = self._marks, []
        torch.cuda.synchronize()
        return [marks[0].elapsed_time(mark) for mark in marks]
