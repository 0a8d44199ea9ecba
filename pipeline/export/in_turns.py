"""One form of a network timed in turns with another: on a busy machine the ratio says more than milliseconds do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline.fronts.numbers import milliseconds
from pipeline.study.store import UNDISTURBED, LatencySetup
from pipeline.trial.latency import quartiles, time_in_turns


@dataclass(frozen=True)
class TimeInTurns:
    """Milliseconds of a batch: of a form of the network and, in turns with it, of the fp32 network beside it."""

    bench: LatencySetup
    ms: float  # median
    spread_ms: float  # between the quartiles
    fp32_ms: float
    core_share: float  # the share of its runnable time in which the process had a core

    @property
    def disturbed(self) -> bool:
        """Whether other work on the machine made the times too long."""
        return self.core_share < UNDISTURBED

    @property
    def speedup(self) -> float:
        """How many times as fast as the fp32 network."""
        return self.fp32_ms / self.ms


def time_beside(
    network: nn.Module, fp32: nn.Module, bench: LatencySetup, rows: Mapping[str, Tensor]
) -> TimeInTurns:
    """Time a network in turns with another, on rows of the shape of `bench`, with the threads that it names."""
    (other, own), share = time_in_turns([lambda: fp32(**rows), lambda: network(**rows)])
    low, middle, high = quartiles(own)
    return TimeInTurns(bench, middle, high - low, quartiles(other)[1], share)


def speed_said(time: TimeInTurns, other: str = "fp32") -> str:
    """Return the latency beside that of the other network."""
    mark = " ?" if time.disturbed else ""
    return f"{milliseconds(time.ms)}{mark}, {time.speedup:.2f} × as fast as {other} ({milliseconds(time.fp32_ms)})"


def speed_in_card(time: TimeInTurns, other: str = "fp32") -> str:
    """Return the same for a model card, which holds no latency of a busy machine."""
    return "not measured: the machine was busy" if time.disturbed else speed_said(time, other)
