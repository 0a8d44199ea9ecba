"""Plain training of several networks of one shape at once: one forward and backward pass for all of them.

A small network's step is bound by its launches, not by its work: K networks whose parameters are stacked are trained
for nearly the launches of one. They see the same batches, and differ in their recipes' rates and decay; every network
is what it would be alone, within rounding.

Shapes: K networks.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.task.batches import Batch, Feed, Split, encoder_inputs
from pipeline.trial.training.loop import CHECK_STEPS, DIVERGED
from pipeline.trial.training.phases import Phase, schedule
from pipeline.trial.training.precision import HALF, autocast, gpu_kernels
from pipeline.trial.training.recipe import Recipe, make_optimizer
from pipeline.trial.training.stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Forward = Callable[..., Any]  # of a network's inputs


@final
class Stack:
    """Networks of one shape whose parameters are parts of stacked tensors [K, ...]: what changes one changes both."""

    def __init__(self, models: Sequence[PreTrainedModel], dtype: torch.dtype) -> None:
        """Stack the networks' parameters; `dtype` is what their products are computed in."""
        self._dtype, self._cast = dtype, _in_products(models[0])
        self._base = nn.Module.to(copy.deepcopy(models[0]), "meta")
        self._buffers = dict(models[0].named_buffers())
        self._own = {
            name: [model.get_parameter(name) for model in models] for name, _ in models[0].named_parameters()
        }
        self._stacked: dict[str, Tensor] = {}
        for name, own in self._own.items():
            together = torch.stack([parameter.detach() for parameter in own])
            for parameter, part in zip(own, together.unbind(), strict=True):
                parameter.data = part
            self._stacked[name] = together.requires_grad_(own[0].requires_grad)

    def backward(self, loss: Callable[[Forward], Tensor]) -> Tensor:
        """Give every network the gradients of its loss; return the losses [K].

        `loss` is called once, with a forward pass that stands for that of each network; dropout is the same in all.
        """

        def one(parameters: dict[str, Tensor]) -> Tensor:
            return loss(
                lambda **inputs: functional_call(
                    self._base, (parameters, self._buffers), args=(), kwargs=inputs
                )
            )

        # under vmap autocast leaves the addition of a bias, and all that follows, in fp32
        cast = {
            name: together.to(self._dtype) if name in self._cast else together
            for name, together in self._stacked.items()
        }
        losses: Tensor = vmap(one, randomness="same")(cast)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        for name, together in self._stacked.items():
            if together.grad is not None:
                for parameter, part in zip(self._own[name], together.grad.unbind(), strict=True):
                    parameter.grad = part
            together.grad = None
        return losses.detach()


def train_stacked(
    models: Sequence[PreTrainedModel], anatomy: Anatomy, train: Split, phase: Phase, recipes: Sequence[Recipe]
) -> list[bool]:
    """Train networks of one shape for a phase, without a method; return which of them did not diverge.

    Args:
        models: that start alike or not, on one device; they are changed.
        anatomy: of the first.
        train: their rows.
        phase: steps and seed.
        recipes: of each; they differ in learning rate and weight decay alone, and are not fp16.
    """
    first, device = recipes[0], next(models[0].parameters()).device
    stack, well = Stack(models, HALF.get(first.precision, torch.float32)), [True] * len(models)
    optimizers = [make_optimizer(model, recipe) for model, recipe in zip(models, recipes, strict=True)]
    parameters = [list(model.parameters()) for model in models]
    stream = Stream(train, first, anatomy, device, seed=phase.seed)
    feed = Feed(stream.batch, device, ahead=waits_cost(device))
    sums, untrained = torch.zeros(len(models), device=device), first.kind.untrained_loss(train)
    checked = 0
    for model in (*models, stack._base):
        model.train()
    torch.manual_seed(phase.seed + 7919 * phase.first)
    try:
        with gpu_kernels(device, first.precision):
            for step in range(phase.steps):
                factor = schedule(step, steps=phase.steps, warmup_fraction=first.warmup_fraction)
                batch = feed.get(phase.first + step, last=phase.end - 1)
                sums += stack.backward(partial(_loss, batch=batch, recipe=first, device=device))
                for optimizer, recipe, its in zip(optimizers, recipes, parameters, strict=True):
                    for group in optimizer.param_groups:
                        group["lr"] = recipe.learning_rate * factor
                    nn.utils.clip_grad_norm_(its, recipe.clip_norm, foreach=True)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                done = step + 1
                if done % CHECK_STEPS == 0 or done % stream.per_epoch == 0 or done == phase.steps:
                    means = (sums / (done - checked)).tolist()
                    well = [
                        was and math.isfinite(mean) and mean <= DIVERGED * untrained
                        for was, mean in zip(well, means, strict=True)
                    ]
                    checked = done
                    sums.zero_()
    finally:
        feed.close()
    for model in models:
        model.train(False)
    return well


def _in_products(model: nn.Module) -> set[str]:
    """Return the names of the weights and biases of linear maps."""
    return {
        f"{name}.{each}" if name else each
        for name, module in model.named_modules()
        if not isinstance(module, nn.Embedding) and getattr(getattr(module, "weight", None), "ndim", 0) == 2
        for each, _ in module.named_parameters(recurse=False)
    }


def _loss(forward: Forward, *, batch: Batch, recipe: Recipe, device: torch.device) -> Tensor:
    with autocast(device, recipe.precision):
        outputs = recipe.kind.outputs(forward(**encoder_inputs(batch)), batch)
    return recipe.kind.loss(outputs, batch)
