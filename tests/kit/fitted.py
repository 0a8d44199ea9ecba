"""A small classifier that is fine-tuned for the toy task, as a folder that a user would bring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.numpy import load_file, save_file

from pipeline.model.folder import BUILTIN
from pipeline.model.resolve import resolve_model
from pipeline.model.source import write_source
from pipeline.task.loading import load_task, train_texts
from pipeline.trial.anchors import DenseRecipe, train_dense
from pipeline.trial.inputs import inputs_of

RECIPE = DenseRecipe((2e-3,), epochs=3.0, batch_size=16, warmup_fraction=0.1, weight_decay=0.0)


def write_fitted(folder: Path, task_file: Path, *, cache: Path) -> float:
    """Fine-tune the built-in model on a task and write it; return its metric on validation."""
    task = load_task(str(task_file), cache=cache)
    source = resolve_model(
        BUILTIN,
        outputs=task.outputs,
        class_names=task.class_names,
        regression=False,
        train_texts=train_texts(task),
    )
    inputs = inputs_of(task, source, method="chance", precision="fp32")
    run = train_dense(inputs, RECIPE.learning_rates[0], recipe=RECIPE)
    assert run is not None
    write_source(replace(source, weights=run.weights), folder)
    return run.metric


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
