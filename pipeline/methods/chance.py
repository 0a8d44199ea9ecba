"""Chance: units, or weights, in random order (no publication; the ranking that any method must beat).

Every present unit of the chosen level gets an independent uniform score. The quality of a network cut
in this way is what training and recovery reach without any choice of units.

Ranks attention and ffn blocks ("block"), heads and ffn blocks ("head"), heads and neurons ("neuron"),
heads alone ("head-only"), or whole layers ("layer"); `chance-weights` single weights. Shapes: L layers, H heads,
N neurons per layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot, Run, Unstructured
from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices, matrices
from pipeline.study.records import Masks, Scores
from pipeline.task.batches import Batch


def random_scores(present: Masks, *, level: str, seed: int) -> Scores:
    """Return uniform scores in (0, 1) for the units that are there, NaN for the others."""
    draw = np.random.default_rng(seed).uniform
    layers = present.layers.shape[0]
    heads = np.where(present.heads, draw(size=present.heads.shape), np.nan)
    ffn = np.where(present.neurons.any(axis=1), draw(size=layers), np.nan)
    if level == "layer":
        return Scores(layers=np.where(present.layers, draw(size=layers), np.nan))
    if level == "neuron":
        neurons = np.where(present.neurons, draw(size=present.neurons.shape), np.nan)
        return Scores(heads=heads, neurons=neurons)
    if level == "head-only":
        return Scores(heads=heads)
    if level == "head":
        return Scores(heads=heads, ffn=ffn)
    return Scores(attention=np.where(present.heads.any(axis=1), draw(size=layers), np.nan), ffn=ffn)


@dataclass
class Drawn(OneShot):
    """A random order, fixed by the trial's seed."""

    _seed: int = field(default=0, init=False, repr=False)

    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> AbstractContextManager[None]:
        """Draw the seed from the trial's generator."""
        del model, anatomy, optimizer
        self._seed = run.generator.initial_seed()
        return nullcontext()

    def state(self) -> dict[str, Tensor]:
        """Return the seed."""
        return {"seed": torch.tensor(self._seed)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the seed."""
        self._seed = int(state["seed"])


@final
@dataclass
class Chance(Drawn):
    """A random order of the units."""

    level: Literal["block", "head", "neuron", "head-only", "layer"]

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return uniform scores, whatever weights and data are."""
        del model, batches
        return random_scores(anatomy.present, level=self.level, seed=self._seed)


@final
@dataclass
class ChanceWeights(Drawn, Unstructured):
    """A random order of the single weights."""

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Matrices:
        """Return uniform scores, the same on every device, whatever weights and data are."""
        del model, batches
        draws = torch.Generator().manual_seed(self._seed)
        return {
            name: torch.rand(weight.shape, generator=draws).to(weight.device)
            for name, weight in matrices(anatomy).items()
        }
