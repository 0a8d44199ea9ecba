"""The names of the kinds of tasks, for options and help: they are read without torch, which the kinds import."""

from __future__ import annotations

IMAGES = "images"
KIND_NAMES = (
    "classification",
    "regression",
    "multi-label",
    "tokens",
    "question-answering",
    "ranking",
    "embedding",
    IMAGES,
    "language-model",
)
