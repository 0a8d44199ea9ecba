"""A study's front while its trials run, as a trial's process gets it: which new networks may stand on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.study.pareto import front
from pipeline.study.records.network import Measurement
from pipeline.study.records.objectives import OBJECTIVES, Anchors


@dataclass(frozen=True)
class FrontSoFar:
    """The front's points when a trial began; later ones only make it harder to stand on it.

    Attributes:
        objective: beside the metric, a key of OBJECTIVES.
        anchors: of the study; its dense network is trained, or the objective is maximised.
        points: metric and gain of each.
    """

    objective: str
    anchors: Anchors
    points: tuple[tuple[float, float], ...]

    def may_hold(self, found: Sequence[Measurement]) -> list[bool]:
        """Return of each network whether it may stand on the front, beside its points and the other networks.

        What one point dominates never stands on a later front; neither does what is no better than a constant.
        """
        gain = OBJECTIVES[self.objective].gain
        own = [(each.metric, float(gain(vars(each), self.anchors))) for each in found]
        values = np.array([*own, *self.points], dtype=np.float64).reshape(-1, 2)
        useful = np.flatnonzero(values[:, 0] > self.anchors.constant)
        stands = {*useful[front(values[useful])].tolist()}
        return [place in stands for place in range(len(own))]
