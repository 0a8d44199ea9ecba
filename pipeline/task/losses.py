"""What is minimised: the task's loss, and what is learned from other networks; what a constant prediction would pay.

Shapes: B rows of a batch, C classes, d features, M rows that a batch is compared with.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from pipeline.study.records import Array


def task_loss(logits: Tensor, labels: Tensor, *, regression: bool) -> Tensor:
    """Return mean cross entropy of logits [B, C] and classes [B]; mean squared error of [B, 1] and values [B]."""
    if regression:
        return nn.functional.mse_loss(logits.float().squeeze(-1), labels.float())
    return nn.functional.cross_entropy(logits.float(), labels)


def soft_target_loss(logits: Tensor, teacher: Tensor, *, temperature: float, regression: bool) -> Tensor:
    """Return T² · KL(softmax(t/T) ‖ softmax(s/T)), a mean over rows: logits s and teacher t, both [B, C].

    Hinton et al. 2015 (arXiv 1503.02531), section 2: T² keeps its gradient's size whatever T is. Of a regression:
    the mean squared difference of [B, 1] and [B, 1].
    """
    if regression:
        return nn.functional.mse_loss(logits.float(), teacher.float())
    ours, theirs = ((each.float() / temperature).log_softmax(dim=-1) for each in (logits, teacher))
    return temperature**2 * nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def contrasts(features: Tensor, keys: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """Return means over rows of -1/|P| Σ_{p in P} log(exp(f·k_p / τ) / Σ_m exp(f·k_m / τ)), one per kind of positive.

    With the same row as the only positive it is InfoNCE, with rows of the same class the supervised contrast
    (Khosla et al. 2020, arXiv 2004.11362, eq. 2); both in Xu et al. 2021 (arXiv 2112.07198).

    Args:
        features: [B, d], each row of length 1.
        keys: [M, d], each row of length 1.
        positives: [K, B, M], which keys are positives of which row, by kind; of each row and kind at least one.
        temperature: τ.

    Returns:
        [K]
    """
    shares = (features @ keys.T / temperature).log_softmax(dim=-1)
    of_row = (shares * positives).sum(dim=-1) / positives.sum(dim=-1)
    return -of_row.mean(dim=-1)


def constant_loss(labels: Array, *, regression: bool) -> float:
    """Return the task loss of the best constant prediction: entropy of the labels [R] in nats, or their variance."""
    if regression:
        return float(np.var(labels.astype(np.float64)))
    shares = np.bincount(labels.astype(np.int64)) / len(labels)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def untrained_loss(labels: Array, *, regression: bool) -> float:
    """Return the task loss of a network whose outputs are all 0, as they nearly are before training; labels [R].

    It can be far above the best constant's: rare classes, values far from 0.
    """
    if regression:
        return float(np.mean(labels.astype(np.float64) ** 2))
    return float(np.log(int(labels.max()) + 1))
