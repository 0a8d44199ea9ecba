"""Recoveries that nothing can come of: a trial that ends with such a cut spends no epoch on it.

In the project's own 30 real trials 11 of 23 recoveries were in vain: six of a network that nothing was cut from, three
of one with nothing left, two at chance (docs/log.md). A cut network at chance is no reason: that is where recovery has
brought most. One is, if the network that it was cut from has learned nothing, neither by metric nor by loss.
"""

from __future__ import annotations

from pipeline.study.records import HistoryRow
from pipeline.task.batches import TaskData
from pipeline.task.kinds import Kind
from pipeline.trial.settings import POINT, TrialSettings
from pipeline.trial.training.loss_checks import CHANCE_LEAST_STEPS, CHANCE_MARGIN

NOTHING_LEFT = 0.99  # share of the encoder


def why_in_vain(settings: TrialSettings, share: float) -> str:
    """Return why a network that lacks this share of the dense encoder is not trained on; empty if it is."""
    if not settings.recover_epochs or settings.recovery != POINT:
        return ""
    if share <= 0:
        return "not recovered: nothing was cut"
    return f"not recovered: {share:.1%} is cut, nothing is left" if share >= NOTHING_LEFT else ""


def learned_nothing(row: HistoryRow, data: TaskData, kind: Kind, *, steps: int) -> str:
    """Return why nothing that is cut from a network is trained on: by the last row of its tuning; empty if it is.

    Args:
        row: with its loss on training and its metric on validation.
        steps: of tuning; few of them show nothing, small tasks learn late.
        data: the study's.
        kind: of its task.
    """
    loss, metric = row.values.get("train_loss"), row.values.get("metric")
    if (
        steps < CHANCE_LEAST_STEPS
        or loss is None
        or metric is None
        or loss < CHANCE_MARGIN * kind.constant_loss(data.train)
    ):
        return ""
    constant = kind.constant(data.validation)
    if metric > constant:
        return ""
    return f"not recovered: uncut it has {metric:.3f}, no more than a constant prediction"
