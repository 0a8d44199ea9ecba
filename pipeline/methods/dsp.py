"""Differentiable subset pruning: Li, Cotterell, Sachan, TACL 2021, arXiv 2108.04657.

Exactly K units stay. Which, is learned by one weight for each: either by a relaxed top-K of Gumbel-perturbed
weights whose temperature falls, or by the K largest weights with a straight-through gradient.

Ranks heads ("head-only", as published) or heads and neurons ("neuron").

Shapes: D units in the numbers of the dense model; K of them stay.

Deviations, each with its reason.
* K follows from the target compression; of heads and neurons the same share stays, so that one number sets both.
* Neurons always take the straight-through estimator: the relaxed top-K needs K steps one after the other.
* The score is a weight's rank among its kind: heads and neurons get one scale, on which the target gives K.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Gated, Moment, Values
from pipeline.methods.bases.gates import Gates

EDGE = 1e-20  # of logarithms: an item with probability 1 stays out of the later draws


def relaxed_top_k(logits: Tensor, k: int, *, temperature: float) -> Tensor:
    """Return [n] summing to k: Σ_j softmax(r_j / t), r_{j+1} = r_j + log(1 - softmax(r_j / t)).

    In float64: temperatures fall to 1e-8.
    """
    relaxed: Tensor = _RelaxedTopK.apply(logits.double(), k, 1.0 / temperature)  # type: ignore[no-untyped-call]
    return relaxed


class _RelaxedTopK(torch.autograd.Function):
    """The k draws one after the other, as they have to be, in half of autograd's launches.

    With a_j = softmax(r_j / t), G = ∂L/∂Σ a_j and u_j = ∂L/∂r_j: ∂L/∂a_j = G - u_{j+1} / (1 - a_j), and
    u_j = u_{j+1} + (∂softmax)ᵀ ∂L/∂a_j / t. Where 1 - a_j is at its edge, log is constant.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int, sharpness: float) -> Tensor:
        left = logits * sharpness  # r_j / t
        drawn = logits.new_empty(k, len(logits))  # a_j
        for step in range(k):
            torch.softmax(left, 0, out=drawn[step])
            if step < k - 1:
                left.add_((1.0 - drawn[step]).clamp_min_(EDGE).log_(), alpha=sharpness)
        ctx.sharpness = sharpness
        ctx.save_for_backward(drawn)
        return drawn.sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (drawn,) = ctx.saved_tensors
        rest = 1.0 - drawn
        slopes = torch.where(rest > EDGE, rest.reciprocal_(), 0.0)
        towards = torch.zeros_like(gradient)  # u_{j+1}: the last draw's changes nothing
        for step in range(len(drawn) - 1, -1, -1):
            of_draw = torch.addcmul(gradient, towards, slopes[step], value=-1.0)
            back = torch._softmax_backward_data(of_draw, drawn[step], 0, drawn.dtype)
            towards.add_(back, alpha=ctx.sharpness)
        return towards, None, None


def top_k(weights: Tensor, k: int) -> Tensor:
    """Return [n]: 1 for the k largest, 0 for the others; of equal ones the first."""
    kept = torch.zeros_like(weights)
    kept[weights.argsort(descending=True, stable=True)[:k]] = 1.0
    return kept


def temperature_at(done: float, *, start: float, end: float, cooldown: float) -> float:
    """Return the temperature after `done` of the steps: geometric from `start` to `end` over their first `cooldown`."""
    part = min(1.0, done / cooldown)
    return math.exp(math.log(start) - part * (math.log(start) - math.log(end)))


@final
@dataclass
class Dsp(Gated):
    """Exactly K units of each kind, by learned weights."""

    level: Literal["head-only", "neuron"]
    estimator: Literal["gumbel", "straight-through"]
    gate_learning_rate: float
    temperature_start: float
    temperature_end: float
    cooldown: float  # part of the tuning steps

    def start(self, units: Gates, run: Run, before: Values) -> Values:
        """Return Xavier-uniform values for each kind [L, units per layer]; later rounds keep theirs."""
        if before:
            return before
        layers = int(units.layer.max()) + 1
        drawn = torch.empty(len(units))
        for kind in range(len(units.kinds)):
            of_kind = (units.kind == kind).cpu()
            count = int(of_kind.sum())
            bound = math.sqrt(6.0 / (layers + count / layers))
            drawn[of_kind] = (torch.rand(count, generator=run.generator) * 2.0 - 1.0) * bound
        return {"weights": drawn}

    def rates(self) -> Mapping[str, float]:
        """Return one rate for all weights."""
        return {"weights": self.gate_learning_rate}

    def gates(self, values: Values, moment: Moment, *, training: bool) -> Tensor:
        """Return gates with K open of each kind: relaxed or straight-through in training, else hard."""
        units, weights = moment.units, values["weights"]
        temperature = temperature_at(
            moment.done, start=self.temperature_start, end=self.temperature_end, cooldown=self.cooldown
        )
        gates = torch.zeros_like(weights)
        for kind, chosen, k in zip(
            units.kinds, units.of_kind, kept_of_each_kind(units, moment.target), strict=True
        ):
            its = weights[chosen]
            if training and self.estimator == "gumbel" and kind == "heads":
                uniform = torch.rand(len(chosen), generator=moment.run.generator).clamp_min(EDGE)
                noise = -torch.log(-torch.log(uniform)).to(its.device, non_blocking=True)
                opened = relaxed_top_k(its + noise, k, temperature=temperature).to(its.dtype)
            else:
                opened = top_k(its.detach(), k) + (its - its.detach())  # straight through: dz/dw = 1
            gates = gates.index_put((chosen,), opened)
        return gates

    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return the rank of each weight among its kind."""
        return units.ranks(values["weights"])


def kept_of_each_kind(units: Gates, target: float) -> list[int]:
    """Return K: how many units of each kind stay at a target compression, the same share of each, at least one."""
    share = 1.0 - max(0.0, target - units.compression) / units.removable
    return [min(len(each), max(1, math.floor(share * len(each)))) for each in units.of_kind]
