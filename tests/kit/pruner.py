"""A fitted head pruner of random weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pipeline.methods.smp.smp import HeadScorer


def tiny_pruner() -> dict[str, np.ndarray]:
    """Random, with weights so large that maps make a difference."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pruner = HeadScorer(side=16, width=2, outputs=1)
        for parameter in pruner.parameters():
            nn.init.normal_(parameter, 0.0, 0.5)
    return {name: tensor.detach().numpy() for name, tensor in pruner.state_dict().items()}
