"""Structured optimal brain surgeon: ZipLM (Kurtic, Frantar, Alistarh 2023, arXiv 2302.04089), Hassibi & Stork 1993.

A unit's score is what its removal costs after the units that stay have made up for it: the error of its block's output
over calibration rows, least squares of the others taken into account. Units go greedily, block by block; one budget
for all blocks removes where the error rises least per parameter. Errors are weighted by how much the loss depends on
each output, so that blocks can be compared. No labels are read.

Ranks heads and neurons ("neuron"), heads and ffn blocks ("head"), attention and ffn blocks ("block"), or heads alone
("head-only").

Deviations, each with its reason.
* Errors are weighted by the diagonal Fisher information of the block's outputs: at 80 % of MiniLM's encoder on SST-2
  0.81 without any training, where plain relative errors give 0.80 and 0.78 at 90 % (docs/log.md). ZipLM compares blocks
  by their relative errors and searches the budget by latency.
* Weights are not updated here: what is left is refitted for all methods alike (`reconstruct`).
* Neurons go in groups, a hundredth of a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import nn

from pipeline.methods.base import OneShot
from pipeline.methods.bases.branches import Branch, read_branches
from pipeline.methods.bases.elimination import eliminate
from pipeline.methods.bases.gates import KINDS, Level
from pipeline.model.anatomy import Anatomy
from pipeline.model.layer_parts import matrix
from pipeline.study.records import FloatArray, Scores
from pipeline.task.batches import Batch

RIDGE = 1e-3  # of the covariance's mean diagonal


@final
@dataclass
class Obs(OneShot):
    """The error of a block's output without a unit, made up for by the others."""

    level: Level
    errors: Literal[
        "loss", "output"
    ]  # weighted by the loss's dependence on each output, or relative to the whole

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return scores of one forward and backward pass, and an elimination of every block's units."""
        shapes = {
            "heads": (anatomy.dense_layers, anatomy.heads_per_layer),
            "attention": (anatomy.dense_layers,),
        }
        shapes |= {
            "neurons": (anatomy.dense_layers, anatomy.neurons_per_layer),
            "ffn": (anatomy.dense_layers,),
        }
        found = {kind: np.full(shapes[kind], np.nan) for kind in KINDS[self.level]}
        branches = read_branches(model, anatomy, batches, self.kind)
        for part in anatomy.layers:
            for name, kinds, units in (
                ("attention_output", ("heads", "attention"), part.heads),
                ("ffn_out", ("neurons", "ffn"), part.neurons),
            ):
                branch = branches.get((part.index, name))
                if branch is None:
                    continue
                if kinds[0] in found:
                    found[kinds[0]][part.index, units] = self._units(branch, len(units))
                elif kinds[1] in found:
                    found[kinds[1]][part.index] = self._block(branch)
        return Scores(**found)

    def _units(self, branch: Branch, count: int) -> FloatArray:
        """Return the scores of a block's units [count]."""
        weight, covariance = self._weight(branch), branch.covariance
        ridge = max(RIDGE * float(covariance.diagonal().mean()), torch.finfo(covariance.dtype).tiny)
        scores = eliminate(weight, covariance, size=weight.shape[1] // count, ridge=ridge).scores()
        return scores / self._whole(branch)

    def _block(self, branch: Branch) -> float:
        """Return the error without the whole block, which nothing makes up for."""
        weight = self._weight(branch)
        return float(((weight @ branch.second_moment) * weight).sum()) / self._whole(branch)

    def _weight(self, branch: Branch) -> torch.Tensor:
        """Return the projection [d, n], its rows weighted."""
        weight = matrix(branch.block.output).detach().float()
        return weight * branch.sensitivity.sqrt()[:, None] if self.errors == "loss" else weight

    def _whole(self, branch: Branch) -> float:
        """Return what errors are divided by."""
        if self.errors == "loss":
            return 1.0
        weight = matrix(branch.block.output).detach().float()
        return max(float(((weight @ branch.covariance) * weight).sum()), torch.finfo(weight.dtype).tiny)
