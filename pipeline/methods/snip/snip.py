"""Spectral-Normalized Identity Prior: Lin, Liu, Yang, Hua, Roth, Findings of EMNLP 2020, arXiv 2010.01791.

SNIP penalises every residual module of a Transformer, y = LN(x + f(x)), toward the identity, y = LN(x), and
removes those whose function norm falls to a threshold or below. A bound on the spectral norm of the branches'
matrices steadies the activations, and makes norms of different modules comparable. (The SNIP of Lee et al.,
ICLR 2019, is another method.)

Ranks attention blocks and feed-forward blocks (`level = "block"`), heads and feed-forward blocks ("head"), or heads and
neurons ("neuron"); by (2), or by the same norm of what is left of a unit after regression on the units that stay
(`score_of = "residual"`, ours: residual.py).

Shapes: B rows, T tokens, d features, L layers, H heads of size k; units u are the attention blocks (or the
heads, layer by layer) and then the ffn blocks, or neurons, numbered as in the dense model: U = 2 L, L H + L, L H + L N.

Deviations, each with its reason. The authors' code was never published; this follows the abstract.
* The penalty is divided by the units' total weight: so its strength means the same at any depth and level.
* `norm`, `reference`, `unit_weight`, `ffn_weight` and `shape` are ours, and searched. With the published
  reading (`mean_abs`, `none`, `uniform`, 1, `linear`) an unbounded penalty takes all attention blocks first.
* (3) bounds the attention output and both feed-forward matrices, as the authors' group does in SNGP
  (arXiv 2006.10108), or only the output projections; off is a choice, and c falls to its value by a warm-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.base import PruningMethod, Run
from pipeline.methods.snip.norms import power_sums
from pipeline.methods.snip.residual import residual_norms, scaled_weight
from pipeline.methods.snip.spectral import SpectralBound
from pipeline.methods.snip.units import Branch, Level, Units
from pipeline.model.anatomy import Anatomy
from pipeline.model.eval_mode import evaluating
from pipeline.study.records import FloatArray, Scores
from pipeline.task.batches import Batch, encoder_inputs, real_tokens

NORM_FLOOR = 1e-6  # a smaller norm counts as this: no root's infinite slope at 0, no division by nothing


@dataclass(frozen=True)
class _Watched:
    """What `penalty` needs of the network that is being tuned."""

    branches: list[Branch]
    units: Tensor  # [those present]
    weights: Tensor  # [U]
    features: int
    summed: Callable[[Tensor], Tensor]  # over the processes that share a batch


@final
@dataclass
class Snip(PruningMethod):
    """Equations (1) and (2); `pipeline.methods.snip.spectral` holds (3). Symbols and deviations stand above.

    (1)  L = L_task + λ Σ_u w_u φ(N_u / ref_u) / Σ_u w_u
         N_u = (mean over real tokens and features of |f_u(x)|^p)^(1/p),  p = 1 (mean_abs) or 2 (rms)
         φ(N) = N (linear) or δ log(1 + N / δ) (log)
    (2)  remove u  <=>  N_u / ref_u / w_u <= ε, N_u in eval mode on calibration data
    """

    replays: ClassVar[bool] = True
    penalty_strength: float  # λ
    shape: Literal["linear", "log"]
    delta: float  # δ
    norm: Literal["mean_abs", "rms"]
    reference: Literal["none", "pretrained"]
    unit_weight: Literal["uniform", "parameters"]
    ffn_weight: float
    level: Level
    spectral_bound: Literal["off", "absolute", "relative"]
    bound_absolute: float
    bound_relative: float
    bound_scope: Literal["branch", "output"]
    bound_warmup: float  # fraction of the tuning steps
    score_of: Literal["norm", "residual"] = "norm"
    _reference: Tensor | None = field(default=None, init=False, repr=False)  # [U]
    _bound: SpectralBound | None = field(default=None, init=False, repr=False)
    _loaded_bound: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _watched: _Watched | None = field(default=None, init=False, repr=False)
    _caught: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)
    _catches: bool = field(default=False, init=False, repr=False)  # whether a forward pass is recorded
    _last_norms: Tensor | None = field(default=None, init=False, repr=False)

    @contextmanager
    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> Iterator[None]:
        """Record every branch's output, and bound the matrices after every step of the optimizer."""
        device = next(model.parameters()).device
        branches = self._units(anatomy).branches()
        units = torch.tensor([unit for branch in branches for unit in branch.units], device=device)
        weights = torch.tensor(self._unit_weights(anatomy), dtype=torch.float32, device=device)
        if self._reference is not None:
            self._reference = self._reference.to(device)
        self._watched = _Watched(branches, units, weights, anatomy.hidden_size, run.summed)
        with ExitStack() as stack:
            stack.enter_context(self._catching(branches, training=True))
            stack.callback(model.register_forward_pre_hook(self._begin).remove)
            if self.spectral_bound != "off":
                bound = self._spectral_bound(run)
                stack.enter_context(bound.on(self._bounded(anatomy), optimizer, run.generator))
            try:
                yield
            finally:
                self._watched = None

    def penalty(self, batch: Batch) -> Tensor:
        """Return the second term of (1); units that are already gone are in it with N = 0."""
        watched = self._watched
        if watched is None or len(self._caught) != len(watched.branches):
            raise RuntimeError("A penalty belongs to a training forward pass inside watch: there was none.")
        mask = real_tokens(batch, next(iter(self._caught.values()))).float()
        sums = watched.summed(self._power_sums(watched.branches, mask))
        self._catches = False
        norms = self._norms(sums, watched.summed(mask.sum()) * watched.features)
        self._keep(norms.detach())
        if self._reference is None:
            self._reference = torch.ones_like(watched.weights)
            if self.reference == "pretrained":  # of the first batch: no weight has moved yet
                self._reference[watched.units] = norms.detach()
        relative = norms / self._reference[watched.units]
        cost = self.delta * torch.log1p(relative / self.delta) if self.shape == "log" else relative
        return self.penalty_strength * (watched.weights[watched.units] @ cost) / watched.weights.sum()

    def _keep(self, norms: Tensor) -> None:
        """Keep the norms of the last batch, in place: a replayed step writes where the captured one did."""
        if self._last_norms is None or self._last_norms.shape != norms.shape:
            self._last_norms = norms.clone()
        else:
            self._last_norms.copy_(norms)

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return (2): N_u divided by its reference and its weight; NaN for units that are already gone."""
        branches = self._units(anatomy).branches()
        if self.score_of == "residual":
            norms = residual_norms(model, branches, batches)
        else:
            norms = self._norms_over(model, anatomy, branches, batches)
        values = np.full(len(self._unit_weights(anatomy)), np.nan)
        values[[unit for branch in branches for unit in branch.units]] = norms
        if self._reference is not None:
            values /= self._reference.double().cpu().numpy()
        return self._units(anatomy).scores(values / self._unit_weights(anatomy))

    def _norms_over(
        self, model: nn.Module, anatomy: Anatomy, branches: list[Branch], batches: Iterable[Batch]
    ) -> FloatArray:
        """Return N_u of the units that are there, over rows, in eval mode."""
        device = next(model.parameters()).device
        sums = torch.zeros(sum(len(branch.units) for branch in branches), device=device)
        tokens = torch.zeros((), device=device)
        with evaluating(model), self._catching(branches, training=False):
            for batch in batches:
                inputs = {name: value.to(device) for name, value in encoder_inputs(batch).items()}
                model(**inputs)
                mask = real_tokens(inputs, next(iter(self._caught.values()))).float()
                tokens += mask.sum()
                sums += self._power_sums(branches, mask)
        norms: FloatArray = self._norms(sums, tokens * anatomy.hidden_size).double().cpu().numpy()
        return norms

    def state(self) -> dict[str, Tensor]:
        """Return the reference norms, and the bound's state."""
        state = {} if self._reference is None else {"reference": self._reference.clone()}
        bound = self._loaded_bound if self._bound is None else self._bound.state()
        return state | {f"bound/{name}": value for name, value in bound.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._reference = state["reference"].clone() if "reference" in state else None
        prefix = "bound/"
        self._loaded_bound = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def report(self) -> dict[str, float]:
        """Return the norm of every unit in the last training batch; of a layer's neurons their mean."""
        if self._last_norms is None or self._watched is None:
            return {}
        norms = iter(self._last_norms.tolist())
        found: dict[str, float] = {}
        for branch in self._watched.branches:
            own = list(islice(norms, len(branch.units)))
            each = own if len(own) == len(branch.names) else [sum(own) / len(own)]
            found |= {f"norm/{name}": norm for name, norm in zip(branch.names, each, strict=True)}
        return found

    def _units(self, anatomy: Anatomy) -> Units:
        return Units(anatomy, self.level)

    def _unit_weights(self, anatomy: Anatomy) -> FloatArray:
        return self._units(anatomy).weights(unit_weight=self.unit_weight, ffn_weight=self.ffn_weight)

    def _begin(self, _model: nn.Module, _args: object) -> None:
        self._catches = torch.is_grad_enabled()

    @contextmanager
    def _catching(self, branches: list[Branch], *, training: bool) -> Iterator[None]:
        """Store in `_caught`, at each forward pass, what the branch's norm is computed from.

        In training, passes without gradients (the metric between epochs) are skipped, and what comes after the
        penalty: layers that activation checkpointing runs again for the backward pass.
        """

        def catch(slot: int, whole: bool) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                if self._catches or not training:
                    self._caught[slot] = output if whole else inputs[0]

            return hook

        handles = [
            (branch.block.output if branch.size else branch.block.branch).register_forward_hook(
                catch(slot, not branch.size)
            )
            for slot, branch in enumerate(branches)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._caught.clear()

    def _power_sums(self, branches: list[Branch], mask: Tensor) -> Tensor:
        """Return the sums [of all units] over what was caught."""
        caught = [self._caught.pop(slot) for slot in range(len(branches))]
        weights = [scaled_weight(branch.block) if branch.size else None for branch in branches]
        power = 2 if self.norm == "rms" else 1
        return power_sums(caught, weights, mask, sizes=[branch.size for branch in branches], power=power)

    def _norms(self, sums: Tensor, count: Tensor) -> Tensor:
        mean = sums / count
        return mean.clamp_min(NORM_FLOOR**2).sqrt() if self.norm == "rms" else mean.clamp_min(NORM_FLOOR)

    def _bounded(self, anatomy: Anatomy) -> dict[str, Tensor]:
        """Return the matrices under (3): SNGP's three per layer (a gate is a fourth), or the two output projections."""
        weights: dict[str, Tensor] = {}
        for part in anatomy.layers:
            if part.attention_output is not None:
                weights[f"attention_output.{part.index}"] = part.attention_output.weight
            if part.ffn is not None:
                weights[f"ffn_out.{part.index}"] = part.ffn.output.weight
                if self.bound_scope == "branch":
                    names = list(part.ffn.maps)[:-1]
                    weights |= {f"{name}.{part.index}": part.ffn.maps[name].weight for name in names}
        return weights

    def _spectral_bound(self, run: Run) -> SpectralBound:
        if self._bound is None:
            relative = self.spectral_bound == "relative"
            self._bound = SpectralBound(
                limit=self.bound_relative if relative else self.bound_absolute,
                relative=relative,
                warmup_steps=round(self.bound_warmup * run.total_steps),
            )
            if self._loaded_bound:
                self._bound.load(self._loaded_bound)
        return self._bound
