"""The files of a fitted scorer, found by the fingerprint of its base model: safetensors, and JSON for people.

ROOT/pruners/FINGERPRINT/fitting.safetensors   the state of a fit; its settings are in the header
ROOT/pruners/FINGERPRINT/pruner.safetensors    the fitted scorer
ROOT/pruners/FINGERPRINT/pruner.json           what is known of it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.methods.smp.smp import for_task
from pipeline.model.anatomy import find_architecture
from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.model.source import ModelSource, Weights, read_weights
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.study.whole_file import whole_file

# Of a configuration, what a task sets, and the words, on which attention maps do not depend.
NOT_BASE = ("id2label", "label2id", "problem_type", "vocab_size")
LETTERS = 16  # of a fingerprint, in a folder's name
PRUNER, ABOUT, FITTING = "pruner.safetensors", "pruner.json", "fitting.safetensors"
HEADER = "prunefront"  # the key of the header's JSON


def base_fingerprint(source: ModelSource) -> str:
    """Return the sha256 of a base model's shape, embeddings and layers; task, classes and head make no difference."""
    config = {key: value for key, value in source.config.items() if key not in NOT_BASE}
    layers = f".{find_architecture(str(source.config['model_type'])).layers}."
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for key, array in sorted(source.weights.items()):
        if layers in key or ".embeddings." in key:
            digest.update(f"{key} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def fit_folder(store: Store, fingerprint: str) -> Path:
    """Return the folder of a base model's fitted scorer, there or not."""
    return store.root / "pruners" / fingerprint[:LETTERS]


def check_fitted(store: Store, model: str, task: str, *, trust_remote_code: bool = False) -> None:
    """Check that a base model's scorer is fitted, before anything of a task is read.

    Raises:
        BadInput: it is not; the message has the command that fits it.
    """
    source = resolve_model(
        model,
        head=Head(("no", "yes")),
        train_texts=["no", "yes"],  # only of the built-in model, whose words do not count
        trust_remote_code=trust_remote_code,
    )
    if not (fit_folder(store, base_fingerprint(source)) / PRUNER).exists():
        raise BadInput(
            f"{store.root} has no scorer of {model}, and smp ranks heads by one that is fitted once "
            f"per base model. Fit it: prunefront fit-pruner --model {model} --tasks {task} --store "
            f"{store.root}"
        )


def find_fitted(store: Store, source: ModelSource, *, pair: bool) -> Weights:
    """Read the fitted scorer of a model, with the output for tasks of pairs of texts, or of single ones.

    Raises:
        BadInput: it is damaged, or gone.
    """
    from safetensors import SafetensorError

    path = fit_folder(store, base_fingerprint(source)) / PRUNER
    try:
        return for_task(read_weights(path), pair=pair)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{path} cannot be read: {error}. smp ranks heads by a fitted scorer. Remove "
            f"{path.parent} and fit it again: prunefront fit-pruner."
        ) from error


def write_state(path: Path, weights: Weights, header: Mapping[str, Any]) -> None:
    """Weights and what is known of them in one file, which appears whole or not at all."""
    from safetensors.numpy import save_file

    with whole_file(path) as part:
        save_file(weights, part, metadata={HEADER: json.dumps(header)})


def read_state(path: Path) -> tuple[Weights, dict[str, Any]] | None:
    """Read what `write_state` wrote; None if there is nothing.

    Raises:
        BadInput: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()[HEADER])
        return read_weights(path), header
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read: {error}. Fitting goes on from where it was. Remove {path.parent} "
            "to begin anew."
        ) from error
