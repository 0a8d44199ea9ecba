"""Stores of made-up studies, a few points each, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.study.records import StudySpec
from pipeline.study.store import Confirmation, Store
from tests.kit.synthetic import point, record, spec

Values = Sequence[tuple[float, float]]


def write_study(root: Path, name: str, *trials: Values, seed: int = 0, **other: str) -> StudySpec:
    """A study of trials of curve points (metric, compression); fields of the spec may be other ones."""
    store = Store(root)
    kind = {key: other.pop(key) for key in ("method", "task", "metric") if key in other}
    made = replace(spec(name, **kind), seed=seed, **other)  # type: ignore[arg-type]
    store.write_spec(made)
    for number, values in enumerate(trials):
        store.study(name).write_record(record(number, *(point(*each) for each in values)))
    store.study(name).gather()
    return made


def write_group(root: Path, name: str, worths: Sequence[float], **other: str) -> list[str]:
    """Studies of seeds 0, 1 ... whose front is the metric `worth` at 50 % compression and 0.9 at none."""
    names = [name if not seed else f"{name}-seed{seed}" for seed in range(len(worths))]
    for seed, (each, worth) in enumerate(zip(names, worths, strict=True)):
        write_study(root, each, [(0.9, 0.0), (worth, 0.5)], seed=seed, **other)
    return names


def confirm(
    root: Path, name: str, point_: int, predictions: Sequence[Sequence[int]], labels: Sequence[int]
) -> None:
    """Confirmations of a point of trial 0: one fresh seed a row of predictions; compression as it was."""
    store = Store(root)
    kept = store.study(name).confirmations
    kept.write_test([str(row) for row in range(len(labels))], np.array(labels))
    chosen = store.study(name).read_record(0).points[point_].measurement
    for number, row in enumerate(predictions):
        metric = float(np.mean(np.array(row) == np.array(labels)))
        measured = replace(chosen, metric=metric, metrics={"metric": metric})
        kept.write(
            Confirmation(
                trial=0,
                point=point_,
                number=number,
                seed=number,
                state="complete",
                reason="",
                measurement=measured,
                validation=metric,
                epochs=1.0,
                seconds=1.0,
                provenance={},
                predictions=np.array(row, dtype=np.int16),
            )
        )
