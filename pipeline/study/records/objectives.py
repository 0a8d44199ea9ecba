"""The objectives of a front, and the two anchors that it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.study.records.types import FloatArray


@dataclass(frozen=True)
class Anchors:
    """The two anchors that a study is compared with, measured once and frozen.

    `constant`: the metric of the best constant prediction on validation; `dense`: plain fine-tuning,
    the best of its learning rates on validation; `dense_epochs`: the epochs of all of them, charged once.
    """

    constant: float
    dense: float
    dense_learning_rate: float
    dense_epochs: float
    dense_parameters: int
    dense_encoder_parameters: int
    dense_macs: int
    dense_size_mb: float

    @classmethod
    def pending(cls, constant: float) -> Anchors:
        """Return the anchors of a study whose dense network is not trained yet."""
        unknown = math.nan
        return cls(constant, unknown, unknown, unknown, 0, 0, 0, unknown)

    @property
    def known(self) -> bool:
        """Whether the dense network is trained."""
        return not math.isnan(self.dense)


@dataclass(frozen=True)
class Objective:
    """An objective of a front: its column, its direction, and its names in tables and figures.

    An objective that is maximised needs no conversion (the metric, compression); one that is minimised has a unit,
    and `gain` converts it to a share of the dense network's value, which is in the column, or the anchor, `dense`.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    label: str  # of its gain
    short: str  # of its gain, for narrow columns
    column: str  # of Measurement, and of the store's table
    dense: str = ""

    def gain(self, measured: Mapping[str, Any], anchors: Anchors) -> FloatArray:
        """Return the objective as fronts use it: higher is better; the dense network has 0, or its value of the metric.

        Compression and sparsity are their own gain; of MACs and latency the gain is the saved part,
        1 - value / dense value. So every objective has the reference 0 and the bound 1, hypervolumes are shares of
        the maximum for every objective, and latencies of two machines are comparable if both measured the dense
        network.

        Args:
            measured: columns by name, each a number or [P]; None or NaN where nothing was measured.
            anchors: those of the study.

        Returns:
            One value or [P]; NaN where the objective was not measured.
        """
        values = np.asarray(measured[self.column], dtype=np.float64)
        if self.direction == "maximize":
            return values
        dense = measured[self.dense] if self.dense in measured else getattr(anchors, self.dense)
        saved: FloatArray = 1.0 - values / np.asarray(dense, dtype=np.float64)
        return saved


# Directions are defined here and nowhere else.
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
