"""One trial of a study: its number, parameters and folders. Without torch: an executor reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.study.records import Ask


@dataclass(frozen=True)
class TrialJob:
    """A trial to run, with its worker's folders: the last of `attempts` is its own, the others have checkpoints."""

    ask: Ask
    attempts: tuple[Path, ...] = ()
    checkpoint_s: float = 60.0  # seconds between checkpoints
    keep_weights: bool = True  # those before each cut and the recovered ones, in the attempt's folder
