"""What all trials of a study begin with, as it was when the study began.

ROOT/studies/NAME/model/, dense.safetensors, teacher.safetensors, fitted.safetensors
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.study.store.objects import bucket_of


@dataclass(frozen=True)
class Origin:
    """Where that is, or would be; `study` is the study's folder. From an object store it is fetched when asked for."""

    study: Path

    def model(self) -> Path:
        """The copy of the model that restarts are served from: a folder."""
        return _fetched(self.study / "model")

    def dense(self) -> Path:
        """The weights of the dense network, if trials start from them or learn from them."""
        return _fetched(self.study / "dense.safetensors")

    def teacher(self) -> Path:
        """What the dense network says of the training rows, if trials learn from that."""
        return _fetched(self.study / "teacher.safetensors")

    def fitted(self) -> Path:
        """What was fitted to the base model, for a method that needs it."""
        return _fetched(self.study / "fitted.safetensors")


def _fetched(path: Path) -> Path:
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.fetch(path)
    return path
