"""A bound on the spectral norm of weight matrices, kept by one power iteration per optimizer step.

    (3)  W <- W · min(1, c / σ(W))          (arXiv 2010.01791; as in SNGP, arXiv 2006.10108, section 3.1)

It only ever shrinks; `torch.nn.utils.parametrizations.spectral_norm` differs (it always rescales to 1 and
differentiates through σ). Matrices of one shape are iterated together, without synchronisation with a
GPU: there the factor is multiplied in whether it is 1 or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from pipeline.model.device import waits_cost

SIGMA_FLOOR = 1e-12
START_ITERATIONS = 20  # for the first estimate; from then on one iteration follows each small change


def power_iteration(weights: Sequence[Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """Run one iteration on G matrices [m, n] of one shape, from their left vectors u [G, m]: (σ [G], next u)."""
    v = _products([weight.T for weight in weights], u)
    v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True).clamp_min(SIGMA_FLOOR)
    product = _products(weights, v)
    sigma = torch.linalg.vector_norm(product, dim=1)
    return sigma, product / sigma.clamp_min(SIGMA_FLOOR).unsqueeze(1)


def _products(weights: Sequence[Tensor], vectors: Tensor) -> Tensor:
    """Return W_g v_g of every matrix: [G, m] of G matrices [m, n] and vectors [G, n]."""
    if not waits_cost(vectors.device):  # reads every matrix once; a stack would be written and read, too
        return torch.stack([torch.mv(w, v) for w, v in zip(weights, vectors.unbind(), strict=True)])
    return torch.bmm(torch.stack(list(weights)), vectors.unsqueeze(2)).squeeze(2)  # two launches instead of G


@dataclass(frozen=True)
class _Group:
    """Bounded matrices of one shape."""

    names: list[str]
    weights: list[Tensor]


def _by_shape(weights: dict[str, Tensor]) -> list[list[str]]:
    groups: dict[torch.Size, list[str]] = {}
    for name, weight in weights.items():
        groups.setdefault(weight.shape, []).append(name)
    return list(groups.values())


@final
class SpectralBound:
    """Keeps σ(W) <= c for named matrices; c is absolute, or relative to each matrix's first σ.

    c falls geometrically from the first σ to its value over the first `warmup_steps` steps. The first σ and
    the step persist after a cut (a matrix of another shape gets new vectors, and keeps its bound).
    """

    def __init__(self, *, limit: float, relative: bool, warmup_steps: int) -> None:
        self._limit = limit
        self._relative = relative
        self._warmup_steps = warmup_steps
        self._steps = 0
        self._vectors: dict[str, Tensor] = {}
        self._start: dict[str, Tensor] = {}

    @contextmanager
    def on(
        self,
        weights: dict[str, Tensor],
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> Iterator[None]:
        """Bound `weights` after each step of `optimizer`."""
        for name, weight in weights.items():
            self._begin(name, weight, generator)
        groups = [_Group(names, [weights[name] for name in names]) for names in _by_shape(weights)]
        handle = optimizer.register_step_post_hook(lambda *_: self._step(groups))
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def _begin(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Compute a matrix's vector and first σ, where no earlier round and no file has them."""
        u = self._vectors.get(name)
        if u is None or u.shape[0] != weight.shape[0]:
            start = torch.randn(weight.shape[0], generator=generator).to(weight.device).unsqueeze(0)
            for _ in range(START_ITERATIONS):
                sigma, start = power_iteration([weight], start)
            u = start[0]
            self._start.setdefault(name, sigma[0])
        self._vectors[name] = u.to(weight.device)
        self._start[name] = self._start[name].to(weight.device)

    @torch.no_grad()
    def _step(self, groups: list[_Group]) -> None:
        """Run one power iteration on every matrix, and shrink it to its bound."""
        self._steps += 1
        part = min(1.0, self._steps / self._warmup_steps) if self._warmup_steps else 1.0
        for group in groups:
            u = torch.stack([self._vectors[name] for name in group.names])
            sigma, u = power_iteration(group.weights, u)
            self._vectors |= zip(group.names, u.unbind(), strict=True)
            start = torch.stack([self._start[name] for name in group.names]).clamp_min(SIGMA_FLOOR)
            final = self._limit * start if self._relative else torch.full_like(start, self._limit)
            start = torch.maximum(start, final)
            bound = start * (final / start) ** part
            factors = (bound / sigma.clamp_min(SIGMA_FLOOR)).clamp_max(1.0)
            self._shrink(group.weights, factors)

    @staticmethod
    def _shrink(weights: list[Tensor], factors: Tensor) -> None:
        if not waits_cost(factors.device):  # matrices within their bound stay as they are
            for weight, factor in zip(weights, factors.tolist(), strict=True):
                if factor < 1.0:
                    weight.mul_(factor)
        else:
            torch._foreach_mul_(weights, list(factors.unbind()))

    def state(self) -> dict[str, Tensor]:
        """Return the step, the vectors and the first spectral norms."""
        state = {"steps": torch.tensor(self._steps)}
        state |= {f"vector/{name}": value.clone() for name, value in self._vectors.items()}
        return state | {f"start/{name}": value.clone() for name, value in self._start.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned, in a fresh instance."""
        self._steps = int(state["steps"])
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind == "vector":
                self._vectors[name] = value.clone()
            elif kind == "start":
                self._start[name] = value.clone()
