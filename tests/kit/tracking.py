"""A study and its trials, made up, for the tests of what is published and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.fronts.figures.series import Dot, Series
from pipeline.study.records import (
    Anchors,
    HistoryRow,
    Masks,
    Measurement,
    Params,
    Point,
    State,
    StudySpec,
    TrialRecord,
)
from pipeline.study.store import Store, StudyTable

NAN, INF = float("nan"), float("inf")
LAYERS, HEADS, NEURONS, ROWS = 2, 3, 5, 7
DENSE = 1000  # encoder parameters; the whole network has 1200

SPACE = """# SNIP, arXiv 2010.01791
[penalty_strength]
low = 0.001
high = 1.0
log = true
default = 0.05
[spectral_bound]
choices = ["off", "relative"]
default = "off"
[rounds]
value = 1
"""
SPEC = StudySpec(
    name="toy-snip",
    task="glue/toy",
    task_fingerprint="f00d",
    metric_name="accuracy",
    validation_rows=ROWS,
    model="tiny",
    model_fingerprint="cafe",
    method="snip",
    space_toml=SPACE,
    sampler="tpe",
    seed=0,
    precision="fp32",
    anchors=Anchors(0.1, 0.9, 5e-4, 9.0, 1200, DENSE, 5000, 0.0048),
)
PROVENANCE = {
    "version/torch": "2.13.0",
    "commit": "a80c113+",
    "cpu": "a CPU",
    "cpu_cores": "2",
    "device": "cpu",
}
PARAMS: Params = {
    "penalty_strength": 0.0123456789,
    "spectral_bound": "relative",
    "bound_absolute": 2.5,
    "bound_relative": 0.75,
    "threshold": 0.3,
    "rounds": 1,
    "score_per_parameter": False,
}


def point(metric: float, compression: float, *, threshold: float = 0.0, seed: int = 0) -> Point:
    """A point of a curve, with masks and predictions of its own."""
    generator = np.random.default_rng([seed, round(1000 * compression)])
    encoder = round(DENSE * (1 - compression))
    measured = Measurement(
        metric=metric,
        metrics={"metric": metric, "accuracy": metric, "f1": metric / 2},
        compression=compression,
        compression_total=1 - (200 + encoder) / 1200,
        parameters=200 + encoder,
        encoder_parameters=encoder,
        macs=5 * encoder,
        size_mb=4e-6 * (200 + encoder),
    )
    masks = Masks(
        generator.random((LAYERS, HEADS)) < 0.5,
        generator.random((LAYERS, NEURONS)) < 0.5,
        np.ones(LAYERS, bool),
    )
    predictions = generator.integers(0, 3, ROWS).astype(np.int16)
    return Point("curve", 0, threshold, measured, masks, predictions)


def record(
    number: int,
    *points: tuple[float, float],
    recovered: tuple[float, float] = (0.8, 0.5),
    state: State = "complete",
    reason: str = "",
) -> TrialRecord:
    """A trial with (metric, compression) of its curve and its recovered point; others end after one epoch."""
    history = (
        HistoryRow("tune", 0, 1.0, {"train_loss": 0.7, "penalty": 0.2, "metric": 0.6, "norm/ffn.0": 1.5}),
        HistoryRow("tune", 0, 1.5, {"train_loss": 0.5, "penalty": 0.1, "norm/ffn.0": 1.25}),
        HistoryRow("recover", 0, 2.0, {"train_loss": 0.4, "metric": 0.8}),
    )
    base = TrialRecord(
        number, state, reason, PARAMS, 2**63 - 1 - number, seconds=12.5, attempts=2, provenance=PROVENANCE
    )
    if state != "complete":
        broken = HistoryRow("tune", 0, 1.0, {"train_loss": NAN, "penalty": INF})
        return replace(base, history=(broken,), epochs=1.0)
    curve = [point(*at, threshold=0.1 * place, seed=number) for place, at in enumerate(points)]
    last = replace(point(*recovered, threshold=0.3, seed=number + 1000), kind="recovered")
    return replace(base, points=(*curve, last), history=history, epochs=2.0)


def trials() -> list[TrialRecord]:
    """Four complete trials, a failed one and a stopped one."""
    return [
        record(0, (0.88, 0.0), (0.7, 0.5), (0.15, 1.0), recovered=(0.85, 0.25)),
        record(1, (0.89, 0.0), (0.6, 0.75), recovered=(0.8, 0.5)),
        record(2, state="failed", reason="the loss is not a number"),
        record(3, (0.5, 0.0), recovered=(0.4, 0.1)),
        record(4, state="stopped", reason="dominated"),
        record(5, (0.87, 0.0), recovered=(0.3, 0.9)),
    ]


def stored(folder: Path, records: list[TrialRecord], spec: StudySpec = SPEC) -> StudyTable:
    """The table of a study with these trials, as a store makes it."""
    store = Store(folder)
    store.write_spec(spec)
    for one in records:
        store.study(spec.name).write_record(one)
    return store.study(spec.name).read_points()


def series_of(*values: tuple[float, float], spec: StudySpec = SPEC) -> Series:
    """A study of curve points (metric, compression), each of a trial of its own."""
    return Series(
        spec,
        tuple(Dot(number, "curve", *value, 10, 0.1, PARAMS, value[1]) for number, value in enumerate(values)),
    )


def same(one: TrialRecord, other: TrialRecord) -> bool:
    """Whether two records say the same, down to the last bit and type of their arrays."""
    if repr(replace(one, points=())) != repr(replace(other, points=())) or len(one.points) != len(
        other.points
    ):
        return False
    return all(
        repr((a.kind, a.round, a.threshold, a.measurement))
        == repr((b.kind, b.round, b.threshold, b.measurement))
        and a.masks.same(b.masks)
        and a.predictions.dtype == b.predictions.dtype
        and bool((a.predictions == b.predictions).all())
        for a, b in zip(one.points, other.points, strict=True)
    )
