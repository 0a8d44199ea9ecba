"""The inputs of all trials of a study, as they were when the study began.

ROOT/studies/NAME/model/, dense.safetensors, teacher.safetensors, answers.safetensors,
fitted.safetensors
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.study.store.objects import bucket_of


@dataclass(frozen=True)
class Origin:
    """The paths of those inputs; `study` is the study's folder. From an object store each is fetched on access."""

    study: Path

    def model(self) -> Path:
        """Return the folder of the model's copy, which restarts read."""
        return _fetched(self.study / "model")

    def dense(self) -> Path:
        """Return the file of the dense network's weights, if trials start from them or distil from them."""
        return _fetched(self.study / "dense.safetensors")

    def teacher(self) -> Path:
        """Return the file of the dense network's outputs for the training rows, if trials distil from them."""
        return _fetched(self.study / "teacher.safetensors")

    def answers(self) -> Path:
        """Return the file of what the dense network predicts, if the task's rows have no labels."""
        return _fetched(self.study / "answers.safetensors")

    def fitted(self) -> Path:
        """Return the file of what was fitted to the base model, for a method that needs a fit."""
        return _fetched(self.study / "fitted.safetensors")


def _fetched(path: Path) -> Path:
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.fetch(path)
    return path
