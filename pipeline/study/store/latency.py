"""The latency of a study: its table of blocks, and the networks of its front that were timed whole.

    ROOT/studies/NAME/latency.json

Shapes: L layers, H heads per layer, N feed-forward neurons per layer, those of the dense model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.records import Masks

UNDISTURBED = 0.9  # of `core_share`: below it latencies are more than a tenth too long


@dataclass(frozen=True)
class Shape:
    """The shape of a timed batch: `batch` rows of exactly `length` tokens."""

    batch: int
    length: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.length}"


@dataclass(frozen=True)
class LatencySetup:
    """The conditions of a latency. Two latencies are comparable if they are equal."""

    device: str  # name of the CPU or GPU
    threads: int  # of PyTorch, on a CPU
    batch: int  # rows
    length: int  # tokens of each
    precision: str = "fp32"

    @property
    def shape(self) -> Shape:
        """The shape of the batch."""
        return Shape(self.batch, self.length)


@dataclass(frozen=True)
class LatencyTable:
    """The time of every block by the units that it keeps: a network's time is predicted from their sum.

    A block's time includes its LayerNorm; 0 heads or neurons is a block that is cut. `heads` and `neurons` rise from
    0 to H and N; between them time is interpolated linearly. Blocks are measured inside large networks: a small
    network, most of which stays in the caches, takes less than the sum of its parts. So `whole_ms` are the measured
    times of networks whose parts sum up to `sums_ms`, from one without layers to the dense one.
    """

    bench: LatencySetup
    fixed_ms: float  # embeddings, pooler, head: parts that are never cut
    heads: tuple[int, ...]
    attention_ms: tuple[float, ...]  # by `heads`
    neurons: tuple[int, ...]
    ffn_ms: tuple[float, ...]  # by `neurons`
    sums_ms: tuple[float, ...]  # rising
    whole_ms: tuple[float, ...]  # by `sums_ms`
    spread_ms: float  # between the quartiles of the dense network's time
    seconds: float  # of the measurement
    core_share: float = 1.0  # see `Timed`

    @property
    def disturbed(self) -> bool:
        """Whether other work on the machine made the times too long."""
        return self.core_share < UNDISTURBED

    def predict(self, masks: Masks) -> float:
        """Return the milliseconds of one batch in the network that `masks` leaves; a layer that is cut takes none."""
        return float(np.interp(self.sum_of_parts(masks), self.sums_ms, self.whole_ms))

    def sum_of_parts(self, masks: Masks) -> float:
        """Return the summed milliseconds, inside large networks, of the parts that `masks` leaves."""
        kept = masks.layers
        attention = np.interp(masks.heads.sum(axis=1)[kept], self.heads, self.attention_ms)
        ffn = np.interp(masks.neurons.sum(axis=1)[kept], self.neurons, self.ffn_ms)
        return float(self.fixed_ms + attention.sum() + ffn.sum())

    @property
    def dense_ms(self) -> float:
        """The milliseconds of the dense network."""
        return self.whole_ms[-1]


@dataclass(frozen=True)
class Timed:
    """The time of a network, measured whole and alone on its device."""

    bench: LatencySetup
    ms: float  # median
    spread_ms: float  # between the quartiles
    dense_ms: float  # of the dense network, measured in turns with this one
    core_share: float = 1.0  # the share of its runnable time in which the process had a core

    @property
    def disturbed(self) -> bool:
        """Whether other work on the machine made the times too long."""
        return self.core_share < UNDISTURBED


@dataclass(frozen=True)
class TimedPoint:
    """The times of one point's network, at one shape or more; `point` is its index in the trial's points."""

    trial: int
    point: int
    times: tuple[Timed, ...]


@dataclass(frozen=True)
class StudyLatency:
    """All latencies of a study. Its own latency is at the shape of `table`, the first of the requested shapes."""

    table: LatencyTable | None = None
    timed: tuple[TimedPoint, ...] = ()

    @property
    def bench(self) -> LatencySetup | None:
        """The conditions of the study's own latency; None if nothing was measured."""
        if self.table is not None:
            return self.table.bench
        return self.timed[0].times[0].bench if self.timed else None

    @property
    def disturbed(self) -> bool:
        """Whether any of the measurements was disturbed."""
        table = self.table is not None and self.table.disturbed
        return table or any(each.disturbed for point in self.timed for each in point.times)

    def of(self, trial: int, point: int) -> tuple[Timed, ...]:
        """Return the times of a point's network, one for each shape; empty if it was not timed."""
        found = (each.times for each in self.timed if (each.trial, each.point) == (trial, point))
        return next(found, ())
