"""One trial from its parameters to its points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.study.records.network import Point
from pipeline.study.records.types import FloatArray, Params, State

RUNG_COLUMNS = ("metric", "compression", "sparsity", "macs", "latency_ms", "dense_latency_ms")
TUNED = -1  # the index of a curve at the end of a tuning


UNRECOVERED = {"recovery": "none"}  # in the provenance of a trial whose cut network was not trained on


@dataclass(frozen=True)
class HistoryRow:
    """The values at the end of an epoch, by name (loss, penalty, metric, norms ...)."""

    phase: Literal["tune", "recover"]
    round: int
    epoch: float  # epochs trained in the trial so far, tuning and recovery together
    values: dict[str, float]


@dataclass(frozen=True)
class Rung:
    """The curve that a trial would give if it ended here: columns [P] of a network in training, cut step by step.

    A column that was not measured is empty. `StudySpec.values` turns columns into objectives.

    Rungs decide whether the trial goes on; their networks are not points of the study and are on no front. The curve at
    the end of a tuning (TUNED), whose networks are points, is shown in the same form; no trial ends there.
    """

    index: int  # of the study's rungs, or TUNED
    epoch: float  # trained so far
    rows: int  # of validation, on which the metrics were measured
    metric: tuple[float, ...]
    compression: tuple[float, ...]
    sparsity: tuple[float, ...] = ()
    macs: tuple[float, ...] = ()
    latency_ms: tuple[float, ...] = ()
    dense_latency_ms: tuple[float, ...] = ()

    def columns(self) -> dict[str, FloatArray]:
        """Return the columns [P] by name; NaN where nothing was measured."""
        nothing = np.full(len(self.metric), np.nan)
        found = {name: np.array(getattr(self, name), dtype=np.float64) for name in RUNG_COLUMNS}
        return {name: values if len(values) else nothing for name, values in found.items()}


@dataclass(frozen=True)
class TrialRecord:
    """One trial from its parameters to its points.

    A complete trial has a recovered point, its last one (for `recover_epochs = 0`, the cut network itself); a trial
    that recovers as a ladder has one for each of its networks, in rounds of their own.
    `reason` is why a trial failed or was stopped; in a complete trial it may hold a remark.
    """

    number: int
    state: State
    reason: str
    params: Params
    seed: int
    points: tuple[Point, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    epochs: float = 0.0  # trained, tuning and recovery together
    seconds: float = 0.0
    attempts: int = 1
    provenance: dict[str, str] = field(default_factory=dict)  # versions, commit, hardware
    rungs: tuple[Rung, ...] = ()
    redundant: bool = False  # it was stopped because others are as good, not because it is worse

    @property
    def recovered(self) -> Point | None:
        """The point of the network that was cut and recovered; None if the trial ended before that.

        Of a ladder's networks it is the one nearest to the trial's target.
        """
        found = [point for point in self.points if point.kind == "recovered"]
        target = self.params.get("target")
        if len(found) < 2 or target is None:
            return found[-1] if found else None
        return min(found, key=lambda point: abs(point.measurement.share - float(target)))
