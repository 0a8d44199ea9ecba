"""The hyperparameters of fine-tuning, and the optimizer that they define."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.task.kinds import Kind
from pipeline.trial.training.precision import Precision


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training. Published defaults: Devlin et al. 2018 (arXiv 1810.04805, A.3)."""

    learning_rate: float
    batch_size: int
    warmup_fraction: float  # of a phase's steps
    weight_decay: float  # not on biases and LayerNorms
    precision: Precision
    kind: Kind
    clip_norm: float = 1.0
    parts: int = 1  # of a batch, one after the other, in one step: the same batch in less memory
    checkpointing: bool = False  # of activations: not kept, but computed again in the backward pass

    def at(self, factor: float) -> Recipe:
        """Return the same recipe with this multiple of its learning rate."""
        return replace(self, learning_rate=self.learning_rate * factor)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return a fused AdamW; vectors (biases, LayerNorms) do not decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
