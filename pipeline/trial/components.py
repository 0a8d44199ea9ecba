"""A trial's method and its distillation, made from its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

import torch

from pipeline.methods.base import PruningMethod
from pipeline.methods.registry import METHODS
from pipeline.model.source import Weights
from pipeline.study.records import Params
from pipeline.study.space import load_space
from pipeline.task.kinds import Kind
from pipeline.trial.distillation import DISTILLATIONS, NONE, Distillation, DistillationInputs
from pipeline.trial.inputs import TrialInputs, TrialJob

Made = TypeVar("Made")

# Values of `rank_by` but for "own", and the method that then ranks units of a network that another one has trained.
RANKING_METHODS = {
    "obs": "obs",
    "fisher": "fisher",
    "first-order": "first-order",
    "deepcuts": "deepcuts-lifted",
}


def make_method(name: str, params: Params, kind: Kind, fitted: Weights | None = None) -> PruningMethod:
    """Make a fresh method from the parameters that are its fields, with what was fitted to its base model."""
    method = _made_from(METHODS[name], params)
    method.tell(kind)
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
