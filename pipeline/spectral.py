"""A bound on the spectral norm of weight matrices, kept by one power iteration per optimizer step.

    (3)  W <- W · min(1, c / σ(W))          (arXiv 2010.01791; as in SNGP, arXiv 2006.10108, section 3.1)

It only ever shrinks; `torch.nn.utils.parametrizations.spectral_norm` differs (it always rescales to 1 and
differentiates through σ). Nothing is copied and nothing waits for the device: the factor is multiplied in
whether it is 1 or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor

SIGMA_FLOOR = 1e-12
START_ITERATIONS = 20  # for the first estimate; from then on one iteration follows each small change


def power_iteration(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """One iteration on weight [m, n] from the left vector u [m]: (estimate of σ, next u)."""
    v = torch.mv(weight.T, u)
    product = torch.mv(weight, v / torch.linalg.vector_norm(v).clamp_min(SIGMA_FLOOR))
    sigma = torch.linalg.vector_norm(product)
    return sigma, product / sigma.clamp_min(SIGMA_FLOOR)


@final
class SpectralBound:
    """Keeps σ(W) <= c for named matrices; c is absolute, or relative to each matrix's first σ.

    c falls geometrically from the first σ to its value over the first `warmup_steps` steps. The first σ and
    the step outlive a cut (a matrix of another shape gets new vectors, and keeps its bound).
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
        """Bounds `weights` after each step of `optimizer`."""
        for name, weight in weights.items():
            self._begin(name, weight, generator)
        handle = optimizer.register_step_post_hook(lambda *_: self.step(weights))
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def _begin(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Finds the matrix's vector and first σ, where no earlier round and no file gave them."""
        u = self._vectors.get(name)
        if u is None or u.shape[0] != weight.shape[0]:
            u = torch.randn(weight.shape[0], generator=generator).to(weight.device)
            for _ in range(START_ITERATIONS):
                sigma, u = power_iteration(weight, u)
            self._start.setdefault(name, sigma)
        self._vectors[name] = u.to(weight.device)
        self._start[name] = self._start[name].to(weight.device)

    @torch.no_grad()
    def step(self, weights: dict[str, Tensor]) -> None:
        """One power iteration and one shrinking of every matrix."""
        self._steps += 1
        part = min(1.0, self._steps / self._warmup_steps) if self._warmup_steps else 1.0
        sigmas = []
        for name, weight in weights.items():
            sigma, self._vectors[name] = power_iteration(weight, self._vectors[name])
            sigmas.append(sigma)
        start = torch.stack([self._start[name] for name in weights]).clamp_min(SIGMA_FLOOR)
        final = self._limit * start if self._relative else torch.full_like(start, self._limit)
        start = torch.maximum(start, final)
        bound = start * (final / start) ** part
        factors = (bound / torch.stack(sigmas).clamp_min(SIGMA_FLOOR)).clamp_max(1.0)
        torch._foreach_mul_(list(weights.values()), list(factors.unbind()))

    def state(self) -> dict[str, Tensor]:
        """The step, the vectors and the first spectral norms."""
        state = {"steps": torch.tensor(self._steps)}
        state |= {f"vector/{name}": value.clone() for name, value in self._vectors.items()}
        return state | {f"start/{name}": value.clone() for name, value in self._start.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state` gave, in a fresh instance."""
        self._steps = int(state["steps"])
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind == "vector":
                self._vectors[name] = value.clone()
            elif kind == "start":
                self._start[name] = value.clone()
