"""What the laws are checked on: a method with its fields, tuned for a few steps on a tiny network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pipeline.methods.base import PruningMethod, Run
from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices
from pipeline.study.records import UNIT_KINDS, Array, ParamValue, Scores
from pipeline.task.batches import Batch, encoder_inputs
from pipeline.trial.conformance.networks import STRUCTURES
from pipeline.trial.curve import Ranking, UnitRanking, WeightRanking
from pipeline.trial.curve.allocation import removal_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STEPS = 4  # of tuning
ROWS = 12
TARGET, THRESHOLD = 0.5, 0.3  # of the run, by which of them the method's space has


@dataclass(frozen=True)
class Subject:
    """One form of a method.

    Attributes:
        method: its class.
        fields: the values of its fields: those of its space's TOML.
        by_threshold: whether its space has a threshold, not a target.
        draws: whether scores are drawn at random by a unit's number; permuted heads then have other scores.
        ranks: whether scores are ranks: which of two nearly equal weights comes first is a matter of rounding.
        fitted: what `equip` is given, of a method that needs a fit.
        architectures: on which the shapes of scores and penalty are checked.
    """

    method: type[PruningMethod]
    fields: Mapping[str, ParamValue] = field(default_factory=dict)
    by_threshold: bool = False
    draws: bool = False
    ranks: bool = False
    fitted: Mapping[str, Array] | None = None
    architectures: tuple[str, ...] = STRUCTURES

    def make(self) -> PruningMethod:
        """Return a fresh instance."""
        method = self.method(**self.fields)
        if self.fitted is not None:
            method.equip(self.fitted)
        return method

    def run(self, seed: int = 0) -> Run:
        """Return the run that it watches, with a generator of its own."""
        target, threshold = (None, THRESHOLD) if self.by_threshold else (TARGET, None)
        return Run(STEPS, ROWS, target, torch.Generator().manual_seed(seed), threshold)

    def tuned(
        self, model: PreTrainedModel, anatomy: Anatomy, batch: Batch, *, dropout: bool = True
    ) -> PruningMethod:
        """Return a fresh instance that has watched the model learn for a few steps."""
        method = self.make()
        optimizer = optimizer_of(model)
        model.train(dropout)
        with method.watch(model, anatomy, optimizer, self.run()):
            for step in range(STEPS):
                torch.default_generator.manual_seed(step)  # dropout; a GPU's are left alone, which takes time
                (loss_of(model, batch) + method.penalty(batch)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()
        model.train(False)
        return method

    def __str__(self) -> str:
        """Return the class and the fields that are texts."""
        return " ".join(
            [self.method.__name__, *(value for value in self.fields.values() if isinstance(value, str))]
        )


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """Return plain gradient descent: what a method adds shows."""
    return torch.optim.SGD(model.parameters(), lr=0.05)


def loss_of(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return a loss that reaches every parameter."""
    loss: torch.Tensor = model(**encoder_inputs(batch)).logits.square().mean()
    return loss


def filled(scores: Scores | Matrices) -> dict[str, Array]:
    """Return scores by kind of unit, or by matrix."""
    if not isinstance(scores, Scores):
        return {name: values.numpy() for name, values in scores.items()}
    return {kind: value for kind in UNIT_KINDS if (value := getattr(scores, kind)) is not None}


def ranked(scores: Scores | Matrices, anatomy: Anatomy, *, per_parameter: bool, attention: int) -> Ranking:
    """Return the order of removal that follows from scores; making it checks them."""
    if not isinstance(scores, Scores):
        return WeightRanking(scores, anatomy)
    order = removal_order(scores, anatomy, score_per_parameter=per_parameter, min_attention_blocks=attention)
    return UnitRanking(order, anatomy=anatomy)


def same(one: Scores | Matrices, other: Scores | Matrices) -> bool:
    """Return whether scores are equal, bit for bit."""
    a, b = filled(one), filled(other)
    return a.keys() == b.keys() and all(np.array_equal(a[kind], b[kind], equal_nan=True) for kind in a)


def traces(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[object]:
    """Return a count of all hooks, and the modules and groups: what a method may leave behind."""
    hooks = [
        len(found)
        for module in model.modules()
        for attribute, found in vars(module).items()
        if attribute.endswith("_hooks")
    ]
    modules = [(name, type(module), vars(module).get("forward")) for name, module in model.named_modules()]
    tensors = [(name, len(p._backward_hooks or ())) for name, p in model.named_parameters()]
    steps = (len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks))
    return [hooks, modules, tensors, steps, [len(group["params"]) for group in optimizer.param_groups]]


def require(condition: bool, subject: Subject, law: str) -> None:
    """Raise AssertionError if a law does not hold; `python -O` leaves it in place."""
    if not condition:
        raise AssertionError(f"{law}; {subject} does not keep this law.")
