"""A made-up pruning problem, for comparing searches in seconds. It is synthetic: no number in it is a measurement.

Shaped after what SNIP's studies of small BERTs look like: a curve that is flat up to a knee and then falls to the
constant prediction; a penalty that pushes the knee out until it destroys the network; recovery that pushes it
further; learning rates and lengths that raise the whole curve; and looks in mid-training that see an immature curve.
What a search sees is noisy, as a metric over ROWS validation rows is; what it is judged by is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.study.records import FloatArray, Masks, Measurement, Params, Point, Rung, TrialRecord
from pipeline.trial.rungs import RUNG_ROWS, RUNG_STEPS

CONSTANT, DENSE = 0.5, 0.9
ROWS = 800
CURVE_POINTS = 24
_NOTHING = (Masks.full(1, 1, 1), np.zeros(1, np.int16))


@dataclass(frozen=True)
class Task:
    """What a made-up task wants: where its best settings are, and how far its networks can be cut."""

    rate: float = -4.0  # log10 of the best learning rate
    penalty: float = 0.6  # log10 of the best penalty; twice as much and more destroys
    dense: float = DENSE
    knee: float = 0.3  # compression that costs half of the metric without a penalty

    @staticmethod
    def near(generator: np.random.Generator, spread: float) -> Task:
        """One of a family: its best settings are a normal draw around the standard task's, `spread` decades wide."""
        rate, penalty = generator.normal((-4.0, 0.6), spread)
        return Task(rate, penalty, float(generator.uniform(0.75, 0.93)), float(generator.uniform(0.2, 0.4)))


STANDARD = Task()


@dataclass(frozen=True)
class Network:
    """A trial's network after a part of its training: what its curve is, without noise."""

    level: float  # metric of the uncut network
    knee: float  # compression at which half of it is lost
    width: float

    def metric(self, compression: FloatArray | float) -> FloatArray:
        """The true metric at a compression."""
        falls = 1 / (1 + np.exp((np.asarray(compression) - self.knee) / self.width))
        whole = 1 / (1 + math.exp(-self.knee / self.width))
        return CONSTANT + (self.level - CONSTANT) * falls / whole


def trained(params: Params, part: float = 1.0, *, recovered: bool = False, task: Task = STANDARD) -> Network:
    """The network after `part` of its tuning, or after its recovery."""
    rate, penalty = math.log10(float(params["learning_rate"])), math.log10(float(params["penalty_strength"]))
    epochs = part * float(params["tune_epochs"])
    shape = 1.0 if params["shape"] == "log" else 0.7
    norm = 1.0 if params["norm"] == "rms" else 0.85
    level = (
        (task.dense - CONSTANT) * math.exp(-0.35 * (rate - task.rate) ** 2) * (1 - math.exp(-epochs / 0.9))
    )
    level *= 1 - 0.5 / (1 + math.exp(-(penalty - task.penalty - 0.5) * 5))  # too much of it destroys
    push = shape * norm * math.exp(-((penalty - task.penalty) ** 2) / 0.5)
    knee = task.knee + 0.45 * push * math.sqrt(part)
    if recovered:
        gain = 1 - math.exp(-float(params["recover_epochs"]) / 1.5)
        knee, level = knee + 0.15 * gain, level + 0.03 * gain * (task.dense - CONSTANT)
    return Network(CONSTANT + level, knee, 0.06)


def threshold_at(compression: FloatArray, params: Params) -> FloatArray:
    """Scores rise with compression: which threshold cuts there."""
    return 0.02 + 0.5 * np.asarray(compression) ** 1.5 * (1.0 if params["norm"] == "rms" else 0.6)


def compression_at(threshold: float, params: Params) -> float:
    """The inverse of `threshold_at`, within 0 ... 0.95."""
    scaled = max(0.0, threshold - 0.02) / 0.5 / (1.0 if params["norm"] == "rms" else 0.6)
    return min(0.95, scaled ** (2 / 3))


def rung(
    params: Params, index: int, part: float, generator: np.random.Generator, task: Task = STANDARD
) -> Rung:
    """What a trial shows after a part of its training: of its tuning, for simplicity."""
    at = np.linspace(0, 0.95, RUNG_STEPS)
    epochs = part * (float(params["tune_epochs"]) + float(params["recover_epochs"]))
    tuned = min(1.0, epochs / float(params["tune_epochs"]))
    seen = _seen(trained(params, tuned, task=task).metric(at), RUNG_ROWS, generator)
    return Rung(index, epochs, RUNG_ROWS, tuple(seen.tolist()), tuple(at.tolist()))


class Synthetic:
    """The made-up problem, as one search meets it: what it sees is drawn from `seed`."""

    constant = CONSTANT
    trials = None  # as many as are wanted

    def __init__(self, seed: int, task: Task = STANDARD) -> None:
        self.task, self.noise = task, np.random.default_rng([seed, 1])

    def epochs(self, number: int, params: Params) -> float:
        """That a trial trains."""
        return float(params["tune_epochs"]) + float(params["recover_epochs"])

    def rung(self, number: int, params: Params, index: int, part: float) -> Rung:
        """What a trial shows after a part of its training."""
        return rung(params, index, part, self.noise, self.task)

    def end_so_far(self, number: int, params: Params, part: float) -> tuple[float, float]:
        """Metric and compression of what the trial's threshold cuts after a part of its training."""
        tuned = min(1.0, part * self.epochs(number, params) / float(params["tune_epochs"]))
        compression = compression_at(float(params["threshold"]), params)
        truth = float(trained(params, tuned, task=self.task).metric(compression))
        return self.noise.binomial(RUNG_ROWS, truth) / RUNG_ROWS, compression

    def record(self, number: int, params: Params) -> tuple[TrialRecord, FloatArray]:
        """A whole trial, and the true metric of each of its points."""
        return record(number, params, self.noise, self.task)


def record(
    number: int, params: Params, generator: np.random.Generator, task: Task = STANDARD
) -> tuple[TrialRecord, FloatArray]:
    """A whole trial, and the true metric of each of its points."""
    end = compression_at(float(params["threshold"]), params)
    at = np.unique(np.append(np.linspace(0, 0.95, CURVE_POINTS), end))
    truth = trained(params, task=task).metric(at)
    last = trained(params, recovered=True, task=task).metric(end)
    seen = _seen(np.append(truth, last), ROWS, generator)
    thresholds = threshold_at(at, params)
    points = [_point("curve", t, m, c) for t, m, c in zip(thresholds, seen[:-1], at, strict=True)]
    points.append(_point("recovered", float(params["threshold"]), seen[-1], end))
    epochs = float(params["tune_epochs"]) + float(params["recover_epochs"])
    made = TrialRecord(number, "complete", "", params, 0, points=tuple(points), epochs=epochs)
    return made, np.append(truth, last)


def _seen(truth: FloatArray, rows: int, generator: np.random.Generator) -> FloatArray:
    return generator.binomial(rows, np.clip(truth, 0, 1)) / rows


def _point(kind: str, threshold: float, metric: float, compression: float) -> Point:
    measured = Measurement(float(metric), {}, float(compression), 0.0, 1, 1, 1, 1.0)
    return Point(kind, 0, float(threshold), measured, *_NOTHING)  # type: ignore[arg-type]
