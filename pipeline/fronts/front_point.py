"""One network on a front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.fronts.numbers import MISSING
from pipeline.study.records import Params, PointRef
from pipeline.study.store import Retrained, Timed


@dataclass(frozen=True)
class FrontPoint(PointRef):
    """One network on a front: the parameters that make it again, and what it measures.

    Of a curve point, `params` holds the threshold (or target) that cuts there, and no recovery: that is the
    trial that the point is.
    """

    metric: float
    compression: float
    compression_total: float
    parameters: int
    encoder_parameters: int
    macs: int
    size_mb: float
    sparsity: float
    nonzero_parameters: int | None
    gain: float  # of the study's second objective: records.Objective.gain
    latency_ms: float | None  # at the study's own shape: measured, or else read from the table
    dense_latency_ms: float | None
    params: Params
    latency_source: Literal["measured", "table"] | None = None
    latency_disturbed: bool = (
        False  # the machine did other work while latency_ms was measured: it is too long
    )
    latencies: tuple[Timed, ...] = ()  # of the whole network, at every requested shape
    retrained: Retrained | None = (
        None  # its measurement after it was trained again, since its weights were gone
    )

    @property
    def latency(self) -> str:
        """The latency as every table has it: 1.23; ~1.23 from the table of blocks; 1.23? measured on a busy machine."""
        if self.latency_ms is None:
            return MISSING
        return f"{'~' * (self.latency_source == 'table')}{self.latency_ms:.3g}{'?' * self.latency_disturbed}"

    @property
    def speedup(self) -> float | None:
        """Time of the dense network / of this one."""
        if self.latency_ms is None or self.dense_latency_ms is None:
            return None
        return self.dense_latency_ms / self.latency_ms
