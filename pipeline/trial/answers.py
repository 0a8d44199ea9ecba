"""Rows without labels: what the dense network predicts takes their place, and the metric is agreement with it.

The predictions are made once per study, before it begins, and kept in its folder: its networks are then measured
against the same answers on every machine. Train rows that are no calibration rows have none: nothing is trained on
such a task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.model.device import AUTO, device_of
from pipeline.model.source import ModelSource, build, read_weights
from pipeline.task.batches import Split, TaskData
from pipeline.trial.measure import Evaluation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Evaluate = Callable[["PreTrainedModel", Split], Evaluation]

VALIDATION, CALIBRATION = "validation", "calibration"
SEED = 0  # initialises nothing: the network is whole


def answers_of(data: TaskData) -> dict[str, npt.NDArray[np.generic]]:
    """Return the answers that `answered` gave, as the study's folder keeps them."""
    return {VALIDATION: data.validation.labels, CALIBRATION: data.calibration.labels}


def answered(
    data: TaskData, source: ModelSource, evaluate: Evaluate, *, device: str = AUTO, kept: Path | None
) -> TaskData:
    """Return the rows with the dense network's predictions as their labels.

    Args:
        data: of a task without labels.
        source: the dense network.
        evaluate: predicts rows, as `TrialInputs.evaluate`.
        device: that the dense network runs on.
        kept: the file of earlier answers; it is not read if there is none.
    """
    if kept is not None and kept.exists():
        found = read_weights(kept)
        validation, calibration = (
            split.with_labels(found[name])
            for name, split in ((VALIDATION, data.validation), (CALIBRATION, data.calibration))
        )
    else:
        validation, calibration = answered_rows(
            source, evaluate, data.validation, data.calibration, device=device
        )
    return replace(data, validation=validation, calibration=calibration)


def answered_rows(
    source: ModelSource, evaluate: Evaluate, *splits: Split, device: str = AUTO
) -> tuple[Split, ...]:
    """Return rows with the dense network's predictions as their labels."""
    model, _ = build(source, seed=SEED)
    nn.Module.to(model, device_of(device))
    blank = [split.with_labels(np.zeros(len(split), np.int64)) for split in splits]
    return tuple(split.with_labels(evaluate(model, split).predictions) for split in blank)
