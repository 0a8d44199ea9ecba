"""What a study knows of speed: its table of blocks, and the networks of its front that were timed whole.

    ROOT/studies/NAME/latency.json

Shapes: L layers, H heads per layer, N feed-forward neurons per layer, those of the dense model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.records import Masks

UNDISTURBED = 0.9  # of `core_share`: below it milliseconds are more than a tenth too long


@dataclass(frozen=True)
class Shape:
    """A batch that is timed: so many rows of exactly so many tokens."""

    batch: int
    length: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.length}"


@dataclass(frozen=True)
class LatencySetup:
    """What a latency holds for. Two are comparable if their benches are equal."""

    device: str  # name of the CPU or GPU
    threads: int  # of PyTorch, on a CPU
    batch: int  # rows
    length: int  # tokens of each
    precision: str = "fp32"

    @property
    def shape(self) -> Shape:
        """Of the batch."""
        return Shape(self.batch, self.length)


@dataclass(frozen=True)
class LatencyTable:
    """The time of every block by what it keeps, so that a network's time is read off a sum.

    A block's time holds its LayerNorm; 0 heads or neurons is a block that is gone. `heads` and `neurons` rise from
    0 to H and N; between them time is read off a straight line. Blocks are measured inside large networks: a small
    one, most of which stays in the caches, takes less than the sum of its parts. `whole_ms` is what networks take
    whose parts sum up to `sums_ms`, from one without layers to the dense one.
    """

    bench: LatencySetup
    fixed_ms: float  # embeddings, pooler, head: what no cut takes away
    heads: tuple[int, ...]
    attention_ms: tuple[float, ...]  # by `heads`
    neurons: tuple[int, ...]
    ffn_ms: tuple[float, ...]  # by `neurons`
    sums_ms: tuple[float, ...]  # rising
    whole_ms: tuple[float, ...]  # by `sums_ms`
    spread_ms: float  # between the quartiles of the dense network's time
    seconds: float  # that measuring it took
    core_share: float = 1.0  # as in `Timed`

    @property
    def disturbed(self) -> bool:
        """As in `Timed`."""
        return self.core_share < UNDISTURBED

    def predict(self, masks: Masks) -> float:
        """Milliseconds of one batch through the network that `masks` leaves; a layer that is gone costs nothing."""
        return float(np.interp(self.sum_of_parts(masks), self.sums_ms, self.whole_ms))

    def sum_of_parts(self, masks: Masks) -> float:
        """What the parts that `masks` leaves take inside large networks, in milliseconds."""
        there = masks.layers
        attention = np.interp(masks.heads.sum(axis=1)[there], self.heads, self.attention_ms)
        ffn = np.interp(masks.neurons.sum(axis=1)[there], self.neurons, self.ffn_ms)
        return float(self.fixed_ms + attention.sum() + ffn.sum())

    @property
    def dense_ms(self) -> float:
        """Milliseconds of the dense network."""
        return self.whole_ms[-1]


@dataclass(frozen=True)
class Timed:
    """A network, timed whole and alone."""

    bench: LatencySetup
    ms: float  # median
    spread_ms: float  # between the quartiles
    dense_ms: float  # of the dense network, in turns with it
    core_share: float = 1.0  # the part of its time that the process had a core when it wanted one

    @property
    def disturbed(self) -> bool:
        """Whether the machine did so much else meanwhile that the milliseconds are too long."""
        return self.core_share < UNDISTURBED


@dataclass(frozen=True)
class TimedPoint:
    """The network of one point, at one shape or more; `point` is its place among the trial's points."""

    trial: int
    point: int
    times: tuple[Timed, ...]


@dataclass(frozen=True)
class StudyLatency:
    """All that a study knows of speed. Its own latency is that of `table`'s shape, the first that was asked for."""

    table: LatencyTable | None = None
    timed: tuple[TimedPoint, ...] = ()

    @property
    def bench(self) -> LatencySetup | None:
        """What the study's own latency holds for; None if nothing was measured."""
        if self.table is not None:
            return self.table.bench
        return self.timed[0].times[0].bench if self.timed else None

    @property
    def disturbed(self) -> bool:
        """Whether anything of it is."""
        table = self.table is not None and self.table.disturbed
        return table or any(each.disturbed for point in self.timed for each in point.times)

    def of(self, trial: int, point: int) -> tuple[Timed, ...]:
        """The times of a point's network, one of each shape; none if it was not timed."""
        found = (each.times for each in self.timed if (each.trial, each.point) == (trial, point))
        return next(found, ())
