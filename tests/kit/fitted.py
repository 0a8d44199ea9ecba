"""The head of a model that a user brings: its names, and its order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import load_file, save_file


def rename_outputs(folder: Path, names: Sequence[str], *, order: Sequence[int] | None = None) -> None:
    """Give the outputs of a written model's head other names, and another order."""
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))
    if order is not None:
        weights = load_file(folder / "model.safetensors")
        for name in ("classifier.weight", "classifier.bias"):
            weights[name] = weights[name][list(order)].copy()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
