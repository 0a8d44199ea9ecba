"""DeepCuts: Grover, Gawri, Manku 2022, arXiv 2212.13392.

Single weights are ranked by saliency: the weight times its gradient, times the mean activation of the unit it
feeds (Cam-Cut), or with the gradient averaged over passes whose activations carry a little noise (Smooth-Cut), or
both. One sweep over calibration rows after the tuning.

`deepcuts` ranks single weights, as published; `deepcuts-lifted` heads and neurons by their weights' sums.

Shapes: W [out, in], G = ∂L/∂W of a batch, A [out] mean output over a batch's real tokens.

Deviations, each with its reason.
* In eval mode, without dropout: the same rows give the same scores. Padding is left out of A.
* Batches have the calibration's size, not 16 rows; biases and the pooler are not scored: no unit holds the latter.
* Noise is put on the outputs of the encoder's linear maps, not of the pooler's and the classifier's.
* Rewinding to the weights of the start before training again, which the paper always does, is a setting of the trial
  (`rewind`): for units it is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot, Unstructured
from pipeline.model.anatomy import Anatomy
from pipeline.model.cut_blocks import features_out
from pipeline.model.eval_mode import evaluating
from pipeline.model.layer_parts import as_matrix
from pipeline.model.unstructured import Matrices, Scope, lift, matrices, shares
from pipeline.study.records import Scores
from pipeline.task.batches import Batch, encoder_inputs, real_tokens
from pipeline.task.kinds import Kind

SHIFT = 10.0  # of shifted activations, so that tiny ones do not take the score away (the authors' code)


def saliency(weight: Tensor, gradient: Tensor, activation: Tensor | None, *, shift: float = 0.0) -> Tensor:
    """Return |W G (A + shift)| [out, in], A by output; |W G| without (the authors' LayerGradCAM, LayerSmoothGrad)."""
    product = weight * gradient
    return (product if activation is None else product * (activation + shift).unsqueeze(1)).abs()


@dataclass
class Saliency(OneShot):
    """Sums over batches of the saliency of every weight."""

    saliency: Literal["cam", "cam-shifted", "smooth", "combined"]
    noise: float  # standard deviation on the outputs of linear maps
    cycles: int  # noisy passes that a gradient is the mean of

    def sums(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Sum over one forward and backward pass, or `cycles` noisy ones, for each batch."""
        device = next(model.parameters()).device
        weights = matrices(anatomy)
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        noisy = self.saliency in ("smooth", "combined")
        sweep = _Sweep(anatomy, weights, self.kind, noise=self.noise if noisy else 0.0, device=device)
        with evaluating(model), ExitStack() as undo:
            for weight in weights.values():
                undo.callback(weight.requires_grad_, weight.requires_grad)
                weight.requires_grad_(True)
            for batch in batches:
                here = {name: value.to(device) for name, value in batch.items()}
                gradients, activations = sweep.run(model, here, passes=self.cycles if noisy else 1)
                for name, weight in weights.items():
                    activation = None if self.saliency == "smooth" else activations[name]
                    shift = SHIFT if self.saliency == "cam-shifted" else 0.0
                    linear = sweep.maps[name]
                    whole, slope = (as_matrix(each, linear) for each in (weight.detach(), gradients[name]))
                    sums[name] += as_matrix(saliency(whole, slope, activation, shift=shift), linear)
        return sums


@final
@dataclass
class DeepCuts(Saliency, Unstructured):
    """Of each matrix the same share goes (the authors' Layer… forms), or of all together the lowest (Global…)."""

    scope: Scope

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Return the weights' saliency, or its rank within the matrix."""
        sums = self.sums(model, anatomy, batches)
        return shares(sums) if self.scope == "matrix" else sums


@final
@dataclass
class DeepCutsLifted(Saliency):
    """Units by the sum of their weights' saliency."""

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return units' sums of their weights' saliency."""
        return lift(self.sums(model, anatomy, batches), anatomy)


class _Sweep:
    """Gradients of the matrices and mean outputs of their maps, for a batch at a time."""

    def __init__(
        self, anatomy: Anatomy, weights: Matrices, kind: Kind, *, noise: float, device: torch.device
    ) -> None:
        self._weights, self._kind, self._noise = weights, kind, noise
        self.maps = {
            f"{part.index}.{name}": linear for part in anatomy.layers for name, linear in part.maps.items()
        }
        self._generator = torch.Generator(device).manual_seed(0)
        self._batch: Batch = {}

    def run(self, model: nn.Module, batch: Batch, *, passes: int) -> tuple[Matrices, Matrices]:
        """Return means over passes: G as weights are stored, and A [out]."""
        self._batch = batch
        means = {
            name: torch.zeros(features_out(self.maps[name]), device=weight.device)
            for name, weight in self._weights.items()
        }
        gradients = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        with ExitStack() as hooks, torch.enable_grad():
            for name in self._weights:
                hooks.callback(self.maps[name].register_forward_hook(self._hook(means[name])).remove)
            for _ in range(passes):
                loss = self._kind.loss(self._kind.outputs(model(**encoder_inputs(batch)), batch), batch)
                found = torch.autograd.grad(loss, list(self._weights.values()))
                for gradient, each in zip(gradients.values(), found, strict=True):
                    gradient += each / passes
        return gradients, {name: mean / passes for name, mean in means.items()}

    def _hook(self, mean: Tensor) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(_linear: nn.Module, _args: object, output: Tensor) -> Tensor:
            real = real_tokens(self._batch, output).unsqueeze(-1).float()
            if output.shape[:2] != real.shape[:2]:  # of relative positions, not of tokens
                return output
            mean.add_((output.detach().float() * (real / real.sum())).sum(dim=(0, 1)))
            if not self._noise:
                return output
            drawn = torch.randn(output.shape, generator=self._generator, device=output.device)
            return output + self._noise * drawn.to(output.dtype)

        return hook
