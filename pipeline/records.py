"""What travels between rooms: frozen dataclasses, numpy arrays, no behaviour beyond their own laws.

Shapes: L layers, H heads per layer, N feed-forward neurons per layer, always those of the dense model;
P points, V validation rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

ParamValue = bool | int | float | str
Params = dict[str, ParamValue]

Kind = Literal["recovered", "curve"]
State = Literal["complete", "stopped", "failed"]


class BadInput(ValueError):  # noqa: N818 (a person's mistake, not the program's error)
    """What a person gave cannot be used. The message says the law, the facts, the way out."""


@dataclass(frozen=True)
class Objective:
    """One axis of a front: its name in records, its direction, how tables and figures call it."""

    name: str
    direction: Literal["maximize", "minimize"]
    label: str


# The only place where directions are written.
OBJECTIVES: dict[str, Objective] = {
    "metric": Objective("metric", "maximize", "metric (validation)"),
    "compression": Objective("compression", "maximize", "compression (removed encoder parameters)"),
}


@dataclass(frozen=True)
class Scores:
    """What each unit is worth to keep: higher = keep. Units that are already cut hold NaN.

    A method fills what it ranks, no two of them overlapping: `heads` [L, H] or `attention` [L],
    `neurons` [L, N] or `ffn` [L], or `layers` [L] alone.

    Raises:
        ValueError: if nothing is filled, or two kinds overlap.
    """

    heads: FloatArray | None = None
    attention: FloatArray | None = None
    neurons: FloatArray | None = None
    ffn: FloatArray | None = None
    layers: FloatArray | None = None

    def __post_init__(self) -> None:
        filled = {kind for kind in UNIT_KINDS if getattr(self, kind) is not None}
        if not filled:
            raise ValueError("Scores rank at least one kind of unit; none is filled.")
        for overlap in ({"heads", "attention"}, {"neurons", "ffn"}):
            if overlap <= filled:
                raise ValueError(f"Scores of {sorted(overlap)} overlap: fill one of them.")
        if "layers" in filled and len(filled) > 1:
            raise ValueError(f"Scores of layers stand alone; filled are {sorted(filled)}.")


UNIT_KINDS = ("heads", "attention", "neurons", "ffn", "layers")


@dataclass(frozen=True)
class Masks:
    """Which units of the dense model stay: True = stays.

    An attention block is there if any of its heads is, a feed-forward block if any of its neurons is;
    a block that is gone has lost its output bias too, its LayerNorm stays. A layer that is False in
    `layers` is gone with its LayerNorms: its heads and neurons are then all False.

    Shapes: heads [L, H], neurons [L, N], layers [L].
    """

    heads: BoolArray
    neurons: BoolArray
    layers: BoolArray

    @staticmethod
    def full(layers: int, heads: int, neurons: int) -> Masks:
        """Everything stays."""
        return Masks(np.ones((layers, heads), bool), np.ones((layers, neurons), bool), np.ones(layers, bool))

    def __and__(self, other: Masks) -> Masks:
        return Masks(self.heads & other.heads, self.neurons & other.neurons, self.layers & other.layers)

    def __le__(self, other: Masks) -> bool:
        """Whether everything that stays here stays there, too."""
        return bool(
            (self.heads <= other.heads).all()
            and (self.neurons <= other.neurons).all()
            and (self.layers <= other.layers).all()
        )

    def same(self, other: Masks) -> bool:
        """Whether both keep the same units."""
        return self <= other and other <= self


@dataclass(frozen=True)
class Measurement:
    """One network, measured. `metric` is the objective, `metrics` all scores of the task by name."""

    metric: float
    metrics: dict[str, float]
    compression: float  # removed encoder parameters / encoder parameters of the dense model
    compression_total: float  # the same of all parameters, embeddings and head included
    parameters: int  # of the whole network
    encoder_parameters: int
    macs: int  # multiply-accumulates of one row of the study's sequence length, encoder
    size_mb: float  # of the weights in fp32, 1 MB = 10^6 bytes
    latency_ms: float | None = None


@dataclass(frozen=True)
class Point:
    """One network that a trial made and that can be made again: its masks and what they give.

    `threshold` is the score at or below which units are gone; `predictions` [V] are the classes (int16)
    or values (float32) predicted for the validation rows, in their order.
    """

    kind: Kind
    round: int
    threshold: float
    measurement: Measurement
    masks: Masks
    predictions: Array


@dataclass(frozen=True)
class HistoryRow:
    """What was seen at the end of an epoch: `values` by name (loss, penalty, metric, norms ...)."""

    phase: Literal["tune", "recover"]
    round: int
    epoch: float  # epochs trained in the trial so far, tuning and recovery together
    values: dict[str, float]


@dataclass(frozen=True)
class TrialRecord:
    """One trial from its parameters to its points.

    A complete trial's last point is its recovered one (for `recover_epochs = 0`, the cut network itself).
    `reason` says why a trial failed or was stopped; in a complete trial it may hold a remark.
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

    @property
    def recovered(self) -> Point | None:
        """The point of the network that was cut and recovered; None if the trial did not get there."""
        return next((point for point in self.points if point.kind == "recovered"), None)


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
class TaskReference:
    """How a study's task was named, so that it can be read again; not frozen: files may move."""

    task: str  # a name, or the absolute path of a task file
    text: tuple[str, ...] = ()
    label: str | None = None
    metric: str | None = None


@dataclass(frozen=True)
class StudySpec:
    """What a study is: frozen at trial 0; only its budgets may change later."""

    name: str
    task: str
    task_fingerprint: str  # sha256 of train and validation rows; the test rows are not read
    metric_name: str
    validation_rows: int
    model: str
    model_fingerprint: str  # sha256 of weights and config, or the hub commit
    method: str
    space_toml: str  # what was searched, every key written out
    sampler: str
    seed: int
    precision: str
    anchors: Anchors

    @property
    def reference_point(self) -> tuple[float, float]:
        """(metric, compression) that a point must beat in both to add hypervolume."""
        return (self.anchors.constant, 0.0)
