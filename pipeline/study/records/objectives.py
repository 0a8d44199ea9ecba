"""What a front is searched on, and the two ends that it is read against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.study.records.types import FloatArray


@dataclass(frozen=True)
class Anchors:
    """The two ends that a study is read against, measured before trial 0 and frozen.

    `constant`: the metric of the best constant prediction on validation; `dense`: plain fine-tuning,
    the best of its learning rates on validation; `dense_epochs`: what all of them cost, charged once.
    """

    constant: float
    dense: float
    dense_learning_rate: float
    dense_epochs: float
    dense_parameters: int
    dense_encoder_parameters: int
    dense_macs: int
    dense_size_mb: float


@dataclass(frozen=True)
class Objective:
    """What a front may be searched on: the column that holds it, its direction, how tables and figures call it.

    What is maximised is a share of the dense network already (the metric, compression); what is minimised has a
    unit, and becomes one in `gain`: `dense` is the column, or the anchor, that holds the dense network's value.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    label: str  # of its gain
    short: str  # of its gain, for narrow columns
    column: str  # of Measurement, and of the store's table
    dense: str = ""

    def gain(self, measured: Mapping[str, Any], anchors: Anchors) -> FloatArray:
        """The objective as fronts use it: higher is better, and the dense network has 0 (of a metric: its value).

        Compression and sparsity are their own gain; MACs and latency give the part that is saved,
        1 - value / dense value. So every objective has the reference 0 and the bound 1, hypervolumes are shares of
        what is possible whatever was searched, and a latency is comparable to one from another machine, where the
        dense network was measured, too.

        Args:
            measured: columns by name, each a number or [P]; what was not measured is None or NaN.
            anchors: of the study.

        Returns:
            One value or [P]; NaN where the objective was not measured.
        """
        values = np.asarray(measured[self.column], dtype=np.float64)
        if self.direction == "maximize":
            return values
        dense = measured[self.dense] if self.dense in measured else getattr(anchors, self.dense)
        saved: FloatArray = 1.0 - values / np.asarray(dense, dtype=np.float64)
        return saved


# The only place where directions are written.
OBJECTIVES: dict[str, Objective] = {
    each.name: each
    for each in (
        Objective("metric", "maximize", "metric (validation)", "metric", "metric"),
        Objective(
            "compression", "maximize", "compression (removed encoder parameters)", "compr.", "compression"
        ),
        Objective("sparsity", "maximize", "sparsity (zeroed encoder parameters)", "sparsity", "sparsity"),
        Objective(
            "macs", "minimize", "saved MACs (of the dense encoder's)", "saved MACs", "macs", "dense_macs"
        ),
        Objective(
            "latency",
            "minimize",
            "saved latency (of the dense network's)",
            "saved ms",
            "latency_ms",
            "dense_latency_ms",
        ),
    )
}
