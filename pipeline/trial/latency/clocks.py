"""Clocks: when work is done on a CPU or a GPU."""

from __future__ import annotations

import time
from typing import Protocol

import torch

MILLISECONDS = 1000.0


class Clock(Protocol):
    """Notes moments of a device without holding it up."""

    def mark(self) -> None:
        """Notes this moment."""

    def read(self) -> list[float]:
        """Milliseconds of every mark since the last reading, from the first one on. Waits for the device."""


class CpuClock:
    """The wall clock: on a CPU work is done when the call returns."""

    def __init__(self) -> None:
        self._marks: list[float] = []

    def mark(self) -> None:
        """Notes this moment."""
        self._marks.append(time.perf_counter())

    def read(self) -> list[float]:
        """Milliseconds from the first mark on."""
        marks, self._marks = self._marks, []
        return [MILLISECONDS * (mark - marks[0]) for mark in marks]


class CudaClock:
    """Events in the GPU's own queue: they tell when it got there, not when it was told to."""

    def __init__(self) -> None:
        self._marks: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Notes the moment when the GPU gets here."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)

    def read(self) -> list[float]:
        """Milliseconds from the first mark on."""
        marks, self._marks = self._marks, []
        torch.cuda.synchronize()
        return [marks[0].elapsed_time(mark) for mark in marks]
