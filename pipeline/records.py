"""What travels between rooms: frozen dataclasses, numpy arrays, no behaviour beyond their own laws.

Shapes: L layers, H heads per layer, N feed-forward neurons per layer, always those of the dense model;
P points, V validation rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

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
    latency_ms: float | None = None  # of one batch, read from the study's table
    dense_latency_ms: float | None = None  # of the dense network, from the same table
    sparsity: float = 0.0  # weights of the encoder's matrices that are zero / dense encoder parameters
    nonzero_parameters: int | None = (
        None  # all but those weights; None: not counted, no unit is a single weight
    )

    @property
    def share(self) -> float:
        """What the network lacks of the dense encoder: its sparsity if zeros were counted, else its compression."""
        return self.compression if self.nonzero_parameters is None else self.sparsity


@dataclass(frozen=True)
class Point:
    """One network that a trial made and that can be made again: its masks and what they give.

    `threshold` is the score at or below which units are gone, or weights zero; `predictions` [V] are the classes
    (int16) or values (float32) predicted for the validation rows, in their order.
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
class Rung:
    """What a trial would give if it ended here: columns [P] of a network still in training, cut step by step.

    A column that was not measured is empty. The study's spec makes objectives of them (`StudySpec.values`).

    They decide whether the trial goes on, and are no networks of the study: they stand on no front.
    """

    index: int  # of the study's rungs
    epoch: float  # trained so far
    rows: int  # of validation that the metrics are of
    metric: tuple[float, ...]
    compression: tuple[float, ...]
    sparsity: tuple[float, ...] = ()
    macs: tuple[float, ...] = ()
    latency_ms: tuple[float, ...] = ()
    dense_latency_ms: tuple[float, ...] = ()

    def columns(self) -> dict[str, FloatArray]:
        """The columns [P] by name; NaN where nothing was measured."""
        nothing = np.full(len(self.metric), np.nan)
        found = {name: np.array(getattr(self, name), dtype=np.float64) for name in RUNG_COLUMNS}
        return {name: values if len(values) else nothing for name, values in found.items()}


RUNG_COLUMNS = ("metric", "compression", "sparsity", "macs", "latency_ms", "dense_latency_ms")


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
    rungs: tuple[Rung, ...] = ()
    redundant: bool = False  # it was stopped because others are as good, not because it is worse

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
    # Fields that came later have defaults: what a study was before there was a choice.
    objective: str = "compression"  # beside the metric: a key of OBJECTIVES
    latency_at: str = ""  # BATCHxTOKENS of a latency that is the objective
    distill: str = "none"  # what is learned from the dense network, beside the labels: kd, cap
    starts: str = ""  # JSON list: parameters that come before the space's own starts, from earlier studies

    @property
    def warm_starts(self) -> list[Params]:
        """Parameters of the first trials, from earlier studies."""
        found: list[Params] = json.loads(self.starts) if self.starts else []
        return found

    @property
    def reference_point(self) -> tuple[float, float]:
        """(metric, gain) that a point must beat in both to add hypervolume."""
        return (self.anchors.constant, 0.0)

    @property
    def approach(self) -> str:
        """The method, and what it was distilled by, if it was: snip, snip+kd."""
        return self.method if self.distill == "none" else f"{self.method}+{self.distill}"

    @property
    def second(self) -> Objective:
        """The objective beside the metric."""
        return OBJECTIVES[self.objective]

    @property
    def zeroes(self) -> bool:
        """Whether single weights of its networks are zero: none is smaller or faster than the dense one."""
        return self.objective == "sparsity"

    @property
    def share(self) -> str:
        """What its networks lack of the dense encoder, as a column: what targets reach, tables begin with."""
        return "sparsity" if self.zeroes else "compression"

    def values(self, measured: Mapping[str, Any]) -> FloatArray:
        """Both objectives, (metric, gain), as fronts maximise them: [2] of one network, [P, 2] of columns [P].

        The ledger stores the same, so that samplers see one scale: see `Objective.gain`.
        """
        metric = np.asarray(measured["metric"], dtype=np.float64)
        return np.stack([metric, self.second.gain(measured, self.anchors)], axis=-1)

    @classmethod
    def late_fields(cls) -> dict[str, Any]:
        """The fields that a spec from before may lack, with what it meant without them."""
        return {each.name: each.default for each in fields(cls) if each.default is not MISSING}
