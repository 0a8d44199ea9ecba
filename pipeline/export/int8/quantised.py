"""What a kind of 8-bit network is made from, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from pipeline.task.batches import Split

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Fp32:
    """The network in fp32, on the CPU, with what a kind may need of it."""

    model: PreTrainedModel
    onnx: Path | None  # the same network as model.onnx; None if no kind needs it
    train: Split  # rows to calibrate on
    threads: int


@dataclass(frozen=True, eq=False)
class Quantised:
    """A network in 8-bit integers, and its fp32 network in the same engine; both give outputs by name."""

    network: nn.Module
    fp32: nn.Module
    file: Path | None  # None: it is made again from the fp32 weights wherever it runs
    size_bytes: int
    engine: str  # name and version
