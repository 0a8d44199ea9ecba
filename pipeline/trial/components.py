"""A trial's method and its distillation, made from its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from pipeline.methods.base import PruningMethod
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import Anatomy
from pipeline.model.source import Weights, build
from pipeline.study.records import Params
from pipeline.study.space import load_space
from pipeline.task.kinds import Kind
from pipeline.trial.distillation import DISTILLATIONS, NONE, Distillation, DistillationInputs
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.settings import TrialSettings
from pipeline.trial.training.precision import resolve_precision
from pipeline.trial.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Made = TypeVar("Made")

# Values of `rank_by` but for "own", and the method that then ranks units of a network that another one has trained.
RANKING_METHODS = {
    "obs": "obs",
    "fisher": "fisher",
    "first-order": "first-order",
    "deepcuts": "deepcuts-lifted",
}


def make_recipe(inputs: TrialInputs, settings: TrialSettings, device: torch.device, *, parts: int) -> Recipe:
    """Make the recipe of all of a trial's phases; `parts` of a batch are computed one after the other."""
    return Recipe(
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        warmup_fraction=settings.warmup_fraction,
        weight_decay=settings.weight_decay,
        precision=resolve_precision(inputs.precision, device),
        kind=inputs.kind,
        parts=parts,
        checkpointing=inputs.checkpointing,
    )


def make_network(
    inputs: TrialInputs, settings: TrialSettings, device: torch.device, *, seed: int
) -> tuple[PreTrainedModel, Anatomy]:
    """Build the model as it came, or as it was fine-tuned, on the device.

    Raises:
        ValueError: the trial starts from the dense network, which is not given.
    """
    source, dense = inputs.source, inputs.dense
    if settings.start_dense:
        if dense is None:
            raise ValueError(
                "A trial that starts dense is given the dense network's weights; there are none."
            )
        source = replace(source, weights=dense)
    model, anatomy = build(source, seed=seed)
    nn.Module.to(model, device)
    return model, anatomy


def make_method(name: str, params: Params, kind: Kind, fitted: Weights | None = None) -> PruningMethod:
    """Make a fresh method from the parameters that are its fields, with what was fitted to its base model."""
    method = _made_from(METHODS[name], params)
    method.set_kind(kind)
    if fitted is not None:
        method.equip(fitted)
    return method


def make_ranking_method(name: str, kind: Kind) -> tuple[PruningMethod, bool]:
    """Make the method of a value of `rank_by`, at its defaults; return also whether it ranks by score / parameters."""
    params = load_space(RANKING_METHODS[name], file=None, pretrained=True).defaults()
    return make_method(RANKING_METHODS[name], params, kind), bool(params["score_per_parameter"])


def make_distillation(inputs: TrialInputs, job: TrialJob, device: torch.device) -> Distillation | None:
    """Make what a trial learns from beside the labels, in all of its phases; None if it learns from labels only.

    Raises:
        ValueError: there is no teacher to learn from.
    """
    if inputs.distill == NONE:
        return None
    if inputs.teacher is None:
        raise ValueError("A trial that distils is given its teacher's outputs; there are none.")
    distillation = _made_from(DISTILLATIONS[inputs.distill], job.ask.params)
    labels = inputs.data.train.labels
    distillation.bind(DistillationInputs(inputs.teacher, labels, inputs.kind, device, job.ask.seed))
    return distillation


def _made_from(kind: Callable[..., Made], params: Params) -> Made:
    names = {field.name for field in fields(kind) if field.init}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in params.items() if key in names})
