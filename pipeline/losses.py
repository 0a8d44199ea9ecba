"""What is minimised: the task's loss, and what the best constant prediction would pay."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from pipeline.records import Array


def task_loss(logits: Tensor, labels: Tensor, *, regression: bool) -> Tensor:
    """Mean cross entropy of logits [B, C] and classes [B]; mean squared error of [B, 1] and values [B]."""
    if regression:
        return nn.functional.mse_loss(logits.float().squeeze(-1), labels.float())
    return nn.functional.cross_entropy(logits.float(), labels)


def constant_loss(labels: Array, *, regression: bool) -> float:
    """The task loss of the best constant prediction: entropy of the labels [R] in nats, or their variance."""
    if regression:
        return float(np.var(labels.astype(np.float64)))
    shares = np.bincount(labels.astype(np.int64)) / len(labels)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def untrained_loss(labels: Array, *, regression: bool) -> float:
    """The task loss of a network whose outputs are all 0, as they nearly are before training; labels [R].

    It can be far above the best constant's: rare classes, values far from 0.
    """
    if regression:
        return float(np.mean(labels.astype(np.float64) ** 2))
    return float(np.log(int(labels.max()) + 1))
