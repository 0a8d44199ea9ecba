"""How much of a front is luck: choose on one half of validation, score on the other.

A front picked from many noisy points overstates itself: the best of hundreds of networks on a thousand rows is
partly the luckiest. On rows that did not choose it the luck is gone; what is left is what a user gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.study.metrics import evaluate
from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import Array, BoolArray, FloatArray, StudySpec, TrialRecord
from pipeline.study.store import Store


@dataclass(frozen=True)
class HalfScore:
    """Hypervolume of the front that one half chooses, scored on each half, divided by dense - constant.

    NaN where the dense network is no better than a constant prediction.
    """

    chosen_on: float
    scored_on: float


def halves(labels: Array, *, seed: int) -> tuple[BoolArray, BoolArray]:
    """Split the rows into random halves, each class (or, of values, each pair of neighbours) evenly."""
    generator = np.random.default_rng(seed)
    strata = labels if labels.ndim == 1 else np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((generator.random(len(labels)), strata))
    first = np.zeros(len(labels), dtype=bool)
    pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
    first[pairs[np.arange(len(pairs)), generator.integers(0, 2, len(pairs))]] = True
    return first, ~first


def metrics_on(
    spec: StudySpec, records: list[TrialRecord], labels: Array, rows: BoolArray, *, classes: int = 0
) -> FloatArray:
    """Return [P, 2]: metric on the given rows, and gain, of every point of complete trials; `classes` of the task."""
    values = [
        spec.values(
            vars(point.measurement)
            | {
                "metric": evaluate(spec.metric_name, labels[rows], point.predictions[rows], classes=classes)[
                    "metric"
                ]
            }
        )
        for record in records
        if record.state == "complete"
        for point in record.points
    ]
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def half_scores(
    spec: StudySpec, records: list[TrialRecord], labels: Array, *, seed: int, classes: int = 0
) -> HalfScore:
    """Choose a front on a random half of validation and score its networks on the other.

    The mean of both directions. On the scoring half the chosen networks' own front counts, no others.
    """
    anchors = spec.anchors
    sides = halves(labels, seed=seed)
    values = [metrics_on(spec, records, labels, rows, classes=classes) for rows in sides]
    chosen: list[float] = []
    scored: list[float] = []
    for here, there in ((0, 1), (1, 0)):
        picked = front(values[here])
        chosen.append(hypervolume(values[here][picked], spec.reference_point))
        scored.append(hypervolume(values[there][picked], spec.reference_point))
    span = anchors.dense - anchors.constant
    span = span if span > 0 else float("nan")  # as `Front.hypervolume_normalised`
    return HalfScore(float(np.mean(chosen)) / span, float(np.mean(scored)) / span)


def luck_of(study: str, min_gain: float, *, store: Path | str) -> tuple[float, float]:
    """Return `best_on_other_half` of a study in a store."""
    files = Store(Path(store)).study(study)
    records = [files.read_record(number) for number in files.finished_numbers()]
    labels = files.read_validation()[1]
    classes = files.data.read().classes
    return best_on_other_half(files.read_spec(), records, labels, min_gain=min_gain, classes=classes)


def best_on_other_half(
    spec: StudySpec,
    records: list[TrialRecord],
    labels: Array,
    *,
    min_gain: float,
    repeats: int = 20,
    classes: int = 0,
) -> tuple[float, float]:
    """Return the metric of the best network of at least that gain, on the half that chose it and on the other half.

    The mean over `repeats` random halvings.

    Raises:
        ValueError: no point is so small.
    """
    seen: list[tuple[float, float]] = []
    for seed in range(repeats):
        sides = halves(labels, seed=seed)
        first, second = (metrics_on(spec, records, labels, rows, classes=classes) for rows in sides)
        fit: npt.NDArray[np.int64] = np.flatnonzero(first[:, 1] >= min_gain)
        if not len(fit):
            raise ValueError(f"No point has a gain of {min_gain} or more.")
        best = fit[np.argmax(first[fit, 0])]
        seen.append((float(first[best, 0]), float(second[best, 0])))
    chosen, other = np.mean(seen, axis=0)
    return float(chosen), float(other)
