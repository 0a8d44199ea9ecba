"""What a run in MLflow takes, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["FINISHED", "FAILED", "KILLED"]  # of a run that has ended


@dataclass(frozen=True)
class Value:
    """One number of a run, with step and time."""

    key: str
    value: float
    step: int
    milliseconds: int  # since 1970
