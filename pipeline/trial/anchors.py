"""The two anchors of a study: the best constant prediction, and plain fine-tuning.

The dense network is trained at three learning rates for as many epochs as a trial of default settings. The best on
validation is kept, with its weights, under the fingerprint of task, model and recipe: studies of the same three share
it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pipeline.model.anatomy import Anatomy
from pipeline.model.device import device_of
from pipeline.model.source import ModelSource, Weights, build, weights_of
from pipeline.study.records import Anchors
from pipeline.study.whole_file import whole_file, write_new
from pipeline.trial.distillation import Outputs, Teacher, compute_outputs
from pipeline.trial.early_look import EarlyLook, PoorRate
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.measure import BYTES_PER_PARAMETER, MEGABYTE, measure
from pipeline.trial.training.gpu_memory import count_anew, peaks_mb, release
from pipeline.trial.training.loop import Listener, Loop, TrainingFailed
from pipeline.trial.training.phases import Phase, steps_per_epoch
from pipeline.trial.training.precision import resolve_precision
from pipeline.trial.training.process import peak_memory_mb
from pipeline.trial.training.recipe import Recipe
from pipeline.trial.training.stacked import StackedTraining

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Around the space's default: next to a dense network at a poor learning rate every cut one would look good.
RATE_FACTORS = (0.5, 1.0, 2.0)
ABOUT, WEIGHTS = "dense.json", "weights"  # the description, and its key with the name of the weights' file
SEED = 0  # not the study's: studies of all seeds share the anchor


@dataclass(frozen=True)
class DenseRecipe:
    """All that determines a dense network beside task and model."""

    learning_rates: tuple[float, ...]
    epochs: float
    batch_size: int
    warmup_fraction: float
    weight_decay: float


AS_IT_CAME = DenseRecipe((0.0,), epochs=0.0, batch_size=1, warmup_fraction=0.0, weight_decay=0.0)


@dataclass(frozen=True, eq=False)
class DenseRun:
    """One dense network, trained and measured."""

    learning_rate: float
    metric: float
    parameters: int
    encoder_parameters: int
    macs: int
    size_mb: float
    peak_mb: float  # of memory, while it trained
    gpu_peak_mb: float  # as counted by PyTorch; 0 on a CPU
    gpu_total_mb: float  # of the card
    weights: Weights
    early_metric: float | None = None  # at its early look, where others can be compared with it


@dataclass(frozen=True)
class DenseJob:
    """A dense network to train, beside others that have been.

    `best_early`: the best metric that one of them had at its early look; None: there is none to compare with.
    """

    learning_rate: float
    best_early: float | None = None


def train_dense_beside(inputs: TrialInputs, job: DenseJob, *, recipe: DenseRecipe) -> DenseRun | None:
    """Fine-tune the model at one learning rate, to its early look if it is poor by then; None if it diverges, or is."""
    return _train(
        inputs, job.learning_rate, recipe, partial(EarlyLook, inputs, job.best_early, epochs=recipe.epochs)
    )


def train_dense(inputs: TrialInputs, learning_rate: float, *, recipe: DenseRecipe) -> DenseRun | None:
    """Fine-tune the model at one learning rate; return None if it diverges."""
    return _train(inputs, learning_rate, recipe, None)


def _train(
    inputs: TrialInputs,
    learning_rate: float,
    recipe: DenseRecipe,
    watch: Callable[[PreTrainedModel], EarlyLook] | None,
) -> DenseRun | None:
    device = device_of(inputs.device)
    count_anew(device)
    model, anatomy = _at_start(inputs, device)
    how, phase = _recipe(inputs, recipe, learning_rate, device), _phase(inputs, recipe)
    look = None if watch is None else watch(model)
    try:
        Loop(model, anatomy, inputs.data.train, phase, how, look or Listener()).fit()
    except (TrainingFailed, PoorRate):
        return None
    run = _measured(inputs, learning_rate, model, anatomy, peaks_mb(device))
    return run if look is None else replace(run, early_metric=look.comparable(run.metric))


def train_dense_together(
    inputs: TrialInputs, learning_rates: tuple[float, ...], *, recipe: DenseRecipe
) -> list[DenseRun | None]:
    """Fine-tune the model at all learning rates in one process: as one stack of networks, where that is possible.

    Those that diverge are None. The peak of a GPU's memory is shared out evenly.
    """
    device = device_of(inputs.device)
    how = [_recipe(inputs, recipe, rate, device) for rate in learning_rates]
    if recipe.epochs == 0.0 or inputs.checkpointing or how[0].precision == "fp16":
        return [train_dense(inputs, rate, recipe=recipe) for rate in learning_rates]
    count_anew(device)
    phase = _phase(inputs, recipe)
    loops = [Loop(*_at_start(inputs, device), inputs.data.train, phase, each, Listener()) for each in how]
    try:
        failed = StackedTraining(loops).fit()
    except (
        RuntimeError,
        NotImplementedError,
    ):  # what vmap has no rule for, or too little memory for all at once
        del loops
        release(device)
        return [train_dense(inputs, rate, recipe=recipe) for rate in learning_rates]
    peaks = peaks_mb(device)
    share = peaks | {key: peaks[key] / len(loops) for key in peaks if key.startswith("peak")}
    return [
        None if place in failed else _measured(inputs, rate, loop.model, loop.anatomy, share)
        for place, (rate, loop) in enumerate(zip(learning_rates, loops, strict=True))
    ]


def _at_start(inputs: TrialInputs, device: torch.device) -> tuple[PreTrainedModel, Anatomy]:
    model, anatomy = build(inputs.source, seed=SEED)
    nn.Module.to(model, device)
    return model, anatomy


def _recipe(inputs: TrialInputs, recipe: DenseRecipe, learning_rate: float, device: torch.device) -> Recipe:
    return Recipe(
        learning_rate=learning_rate,
        batch_size=recipe.batch_size,
        warmup_fraction=recipe.warmup_fraction,
        weight_decay=recipe.weight_decay,
        precision=resolve_precision(inputs.precision, device),
        kind=inputs.kind,
        checkpointing=inputs.checkpointing,
    )


def _phase(inputs: TrialInputs, recipe: DenseRecipe) -> Phase:
    steps = round(recipe.epochs * steps_per_epoch(len(inputs.data.train), recipe.batch_size))
    return Phase("tune", 0, 0, steps, SEED)


def _measured(
    inputs: TrialInputs, learning_rate: float, model: PreTrainedModel, anatomy: Anatomy, gpu: dict[str, float]
) -> DenseRun:
    """Measure a trained network."""
    measured = measure(model, anatomy, inputs.evaluate(model), length=inputs.length)
    parameters = anatomy.costs.model  # with the rows of tokens that a trimmed vocabulary has lost
    weights = {name: tensor.cpu().numpy() for name, tensor in weights_of(model).items()}
    return DenseRun(
        learning_rate=learning_rate,
        metric=measured.metric,
        parameters=parameters,
        encoder_parameters=measured.encoder_parameters,
        macs=measured.macs,
        size_mb=parameters * BYTES_PER_PARAMETER / MEGABYTE,
        peak_mb=peak_memory_mb(),
        gpu_peak_mb=gpu.get("peak_gpu_reserved_mb", 0.0),
        gpu_total_mb=gpu.get("gpu_total_mb", 0.0),
        weights=weights,
    )


@dataclass(frozen=True)
class Banks:
    """The networks whose representations of the training rows a study's trials may use; the dense one's layers."""

    finetuned: bool
    pretrained: bool
    layers: bool = False


def teach(inputs: TrialInputs, banks: Banks) -> Teacher:
    """Compute what the study's trials learn from: one pass of each network over the training rows.

    Raises:
        ValueError: the dense network's weights are not there.
    """
    if inputs.dense is None:
        raise ValueError("The teacher is the study's dense network; its weights are not there.")
    device = device_of(inputs.device)

    def outputs_of(source: ModelSource, *, layers: bool = False) -> Outputs:
        model, _ = build(source, seed=SEED)
        nn.Module.to(model, device)
        precision = resolve_precision(inputs.precision, device)
        return compute_outputs(model, inputs.data.train, inputs.kind, precision=precision, layers=layers)

    dense = outputs_of(replace(inputs.source, weights=inputs.dense), layers=banks.layers)
    return Teacher(
        logits=dense.logits,
        finetuned=dense.features if banks.finetuned else None,
        pretrained=outputs_of(inputs.source).features if banks.pretrained else None,
        layers=dense.layers,
    )


def dense_folder(cache: Path, *, task_fingerprint: str, model_fingerprint: str, recipe: DenseRecipe) -> Path:
    """Return the folder of the dense network of a task, model and recipe."""
    text = json.dumps([task_fingerprint, model_fingerprint, asdict(recipe), SEED])
    return cache / "dense" / hashlib.sha256(text.encode()).hexdigest()[:16]


def weights_file(folder: Path) -> Path:
    """Return the path of the dense network's weights in its folder."""
    about = read_dense(folder) or {}
    return folder / Path(about.get(WEIGHTS, "model.safetensors")).name  # a damaged file leads nowhere else


def read_dense(folder: Path) -> dict[str, Any] | None:
    """Read what `write_dense` wrote about the network; None if there is none, or it is damaged: it is trained anew."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
        name = about.get(WEIGHTS, "model.safetensors")  # older ones have this name
        return about if "metric" in about and (folder / Path(name).name).is_file() else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def write_dense(folder: Path, runs: list[DenseRun], recipe: DenseRecipe) -> dict[str, Any]:
    """Write the best run: the weights first, then its description, so that this implies that they are there.

    Of two studies that train it at once the first decides: its weights and its numbers belong together.
    """
    from safetensors.numpy import save_file

    best = max(runs, key=lambda run: run.metric)
    weights = folder / f"model-{secrets.token_hex(4)}.safetensors"
    with whole_file(weights) as part:
        save_file({k: np.ascontiguousarray(v) for k, v in best.weights.items()}, part)
    about = {name: value for name, value in vars(best).items() if name != "weights"}
    about["tried"] = {f"{run.learning_rate:g}": run.metric for run in runs}
    about["epochs"] = recipe.epochs * len(recipe.learning_rates)
    about[WEIGHTS] = weights.name
    if (folder / ABOUT).exists() and read_dense(
        folder
    ) is None:  # in this order: another study may write it now
        (folder / ABOUT).unlink(missing_ok=True)  # it is damaged
    if not write_new(folder / ABOUT, json.dumps(about, indent=2).encode()):
        weights.unlink()
    return read_dense(folder) or about


def anchors_of(dense: dict[str, Any], inputs: TrialInputs) -> Anchors:
    """Return both anchors, on the validation set."""
    return Anchors(
        constant=inputs.kind.constant(inputs.data.validation),
        dense=dense["metric"],
        dense_learning_rate=dense["learning_rate"],
        dense_epochs=dense["epochs"],
        dense_parameters=dense["parameters"],
        dense_encoder_parameters=dense["encoder_parameters"],
        dense_macs=dense["macs"],
        dense_size_mb=dense["size_mb"],
    )
