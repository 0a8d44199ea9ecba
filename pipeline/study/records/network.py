"""One network: the scores of its units, which of them stay, its measurements.

Shapes: L layers, H heads per layer, N feed-forward neurons per layer, always those of the dense model; V validation
rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.records.types import Array, BoolArray, FloatArray, Kind

UNIT_KINDS = ("heads", "attention", "neurons", "ffn", "layers")


@dataclass(frozen=True)
class Scores:
    """The score of each unit: higher = keep. Units that are already cut hold NaN.

    A method fills what it ranks, without overlap: `heads` [L, H] or `attention` [L],
    `neurons` [L, N] or `ffn` [L], or `layers` [L] alone.

    Raises:
        ValueError: nothing is filled, or two kinds overlap.
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
            raise ValueError(f"Scores of layers exclude other kinds; filled are {sorted(filled)}.")


@dataclass(frozen=True)
class Masks:
    """The units of the dense model that stay: True = stays.

    An attention block stays if any of its heads stays, a feed-forward block if any of its neurons stays;
    a block that is cut loses its output bias too, but keeps its LayerNorm. A layer that is False in
    `layers` is cut with its LayerNorms: its heads and neurons are then all False.

    Shapes: heads [L, H], neurons [L, N], layers [L].
    """

    heads: BoolArray
    neurons: BoolArray
    layers: BoolArray

    @staticmethod
    def full(layers: int, heads: int, neurons: int) -> Masks:
        """Return masks that keep every unit."""
        return Masks(np.ones((layers, heads), bool), np.ones((layers, neurons), bool), np.ones(layers, bool))

    def __and__(self, other: Masks) -> Masks:
        return Masks(self.heads & other.heads, self.neurons & other.neurons, self.layers & other.layers)

    def __le__(self, other: Masks) -> bool:
        """Return whether every unit that stays here also stays in `other`."""
        return bool(
            (self.heads <= other.heads).all()
            and (self.neurons <= other.neurons).all()
            and (self.layers <= other.layers).all()
        )

    def same(self, other: Masks) -> bool:
        """Return whether both keep the same units."""
        return self <= other and other <= self


@dataclass(frozen=True)
class Measurement:
    """The measurements of one network. `metric` is the objective, `metrics` all scores of the task by name."""

    metric: float
    metrics: dict[str, float]
    compression: float  # removed encoder parameters / encoder parameters of the dense model
    compression_total: float  # the same for all parameters, embeddings and head included
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
        """The removed share of the dense encoder: the sparsity if zeros were counted, else the compression."""
        return self.compression if self.nonzero_parameters is None else self.sparsity


@dataclass(frozen=True)
class OriginalSize:
    """The size of a model before it was cut for the first time, or its vocabulary trimmed.

    `compression` counts from the encoder as the study's model has it; `compression_total` counts the rows of the
    embedding table that a trimmed vocabulary has lost.
    """

    parameters: int
    encoder_parameters: int
    tokens: int = 0  # of the vocabulary before it was trimmed; 0: it was not
    trimmed: int = 0  # parameters of the rows that are gone with them

    def compression_of(self, encoder_parameters: int) -> float:
        """Return the share of the encoder before the first cut that is gone in a network."""
        return 1 - encoder_parameters / self.encoder_parameters


@dataclass(frozen=True)
class Point:
    """One network of a trial, which can be made again: its masks and its measurements.

    `threshold` is the score at or below which units are cut, or weights are zero; `predictions` [V] are the classes
    (int16) or values (float32) predicted for the validation rows, in their order.
    """

    kind: Kind
    round: int
    threshold: float
    measurement: Measurement
    masks: Masks
    predictions: Array


@dataclass(frozen=True)
class PointRef:
    """Which point of a study: its trial, its place among the trial's points, its kind and its round."""

    trial: int
    point: int
    kind: Kind
    round: int
