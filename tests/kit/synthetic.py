"""Records made by hand, for what reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.study.records import Anchors, Kind, Masks, Measurement, Point, StudySpec, TrialRecord
from pipeline.study.space import load_space

ANCHORS = Anchors(
    constant=0.5,
    dense=0.9,
    dense_learning_rate=1e-4,
    dense_epochs=9.0,
    dense_parameters=2000,
    dense_encoder_parameters=1000,
    dense_macs=5000,
    dense_size_mb=0.008,
)


def spec(
    name: str = "toy", *, method: str = "snip", task: str = "toy", metric: str = "accuracy"
) -> StudySpec:
    return StudySpec(
        name=name,
        task=task,
        task_fingerprint="f00d",
        metric_name=metric,
        validation_rows=8,
        model="tiny",
        model_fingerprint="beef",
        method=method,
        space_toml=load_space(method, file=None, pretrained=True).toml,
        sampler="tpe",
        seed=0,
        precision="fp32",
        anchors=ANCHORS,
    )


def point(
    metric: float, compression: float, *, kind: Kind = "curve", predictions: Sequence[int] = (0, 1) * 4
) -> Point:
    measurement = Measurement(
        metric=metric,
        metrics={"metric": metric},
        compression=compression,
        compression_total=compression / 2,
        parameters=round(2000 - 1000 * compression),
        encoder_parameters=round(1000 - 1000 * compression),
        macs=round(5000 * (1 - compression)),
        size_mb=0.008,
    )
    return Point(kind, 0, 0.25, measurement, Masks.full(2, 2, 4), np.array(predictions, dtype=np.int16))


def record(number: int, *points: Point, state: str = "complete", reason: str = "") -> TrialRecord:
    params = {"threshold": 0.1 * (number + 1), "recover_epochs": 2, "penalty_strength": 5.0}
    return TrialRecord(number, state, reason, params, seed=number, points=points, epochs=2.0, seconds=3.0)  # type: ignore[arg-type]
