"""Scores that are computed anew along the curve, on networks that are cut further and further: the order stays nested.

    score ─ cut to the next compression, refit ─ score ─ ... ─ the order of all

What a unit is worth depends on which others are left: in the one-shot table of oBERT (Kurtic et al. 2022, arXiv
2203.07259) scoring single weights anew is worth 2, 21 and 33 points at 70, 80 and 90 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.model.anatomy import Anatomy
from pipeline.model.copies import copied
from pipeline.model.surgery import cut
from pipeline.model.unstructured import Matrices
from pipeline.trial.curve.allocation import Removal, choose
from pipeline.trial.curve.ladder import next_on_ladder
from pipeline.trial.curve.ranking import WeightRanking
from pipeline.trial.reconstruction import Reconstruction

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Order = tuple[Removal, ...]


def rescored_order(
    rank: Callable[[PreTrainedModel, Anatomy], Order],
    model: PreTrainedModel,
    anatomy: Anatomy,
    *,
    times: int,
    end: float,
    reconstruction: Reconstruction | None,
    neurons_together: int = 1,
) -> Order:
    """Order all units; after a part of them is gone the others are ranked anew.

    Scores rise along the order: those of a later ranking begin where those of the one before ended.

    Args:
        rank: scores a network's units and orders them.
        model: trained; it is not changed.
        anatomy: its own.
        times: how often units are ranked anew, 0 or more.
        end: compression at which they are for the last time.
        reconstruction: refits what is left; None: it stays as it is.
        neurons_together: that orders are made with: units are ranked anew after whole groups of them.
    """
    order = rank(model, anatomy)
    model, anatomy = copied(model, anatomy)
    gone: list[Removal] = []
    for left in range(times, 0, -1):
        now = anatomy.costs.compression(anatomy.present)
        target = next_on_ladder(now, end=end, left=left)
        step = choose(order, anatomy, target=target, neurons_together=neurons_together)
        if not 0 < step.removed < len(order):
            break
        gone += order[: step.removed]
        anatomy = cut(model, anatomy, step.masks)
        if reconstruction is not None:
            reconstruction.refit(model, anatomy)
        again = rank(model, anatomy)
        shift = max(0.0, gone[-1].score - again[0].score) if again else 0.0
        order = tuple(replace(removal, score=removal.score + shift) for removal in again)
    return (*gone, *order)


def rescored_weights(
    score: Callable[[PreTrainedModel, Anatomy], Matrices],
    model: PreTrainedModel,
    anatomy: Anatomy,
    *,
    times: int,
    end: float,
    reconstruction: Reconstruction | None,
) -> Matrices:
    """Score all single weights; after a part of them is zero the others are scored anew.

    Returns:
        The number of the scoring that removes a weight, plus its rank in that one, in (0, 1].
    """
    model, anatomy = copied(model, anatomy)
    found: Matrices = {}
    for left in range(times, -1, -1):
        ranking = WeightRanking(score(model, anatomy), anatomy, reconstruction)
        found = _ranks(ranking.scores, found, number=times - left)
        if left:
            now = ranking.at(threshold=-np.inf).compression
            ranking.take(model, ranking.at(target=next_on_ladder(now, end=end, left=left)))
    return found


@torch.no_grad()
def _ranks(scores: Matrices, before: Matrices, *, number: int) -> Matrices:
    """Return number + rank of each weight among all matrices; those that are zero (-inf) keep what they had before."""
    flat = torch.cat([values.flatten() for values in scores.values()])
    order = flat.argsort(stable=True)
    ranks = torch.empty_like(flat)
    ranks[order] = torch.arange(1, len(flat) + 1, dtype=flat.dtype, device=flat.device) / len(flat)
    parts = torch.split(ranks, [values.numel() for values in scores.values()])
    found = {}
    for (name, values), part in zip(scores.items(), parts, strict=True):
        new = number + part.view_as(values)
        found[name] = torch.where(values == -torch.inf, before.get(name, new), new)
    return found
