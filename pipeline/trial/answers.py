"""Rows without labels: what the dense network predicts takes their place, and the metric is agreement with it.

The predictions are made once per study, before it begins, and kept in its folder: its networks are then measured
against the same answers on every machine. Train rows that are no calibration rows have none: nothing is trained on
such a task.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.model.device import AUTO, device_of
from pipeline.model.source import ModelSource, build, read_weights
from pipeline.task.batches import Split, TaskData
from pipeline.task.kinds import Kind
from pipeline.trial.measure import kept_outputs
from pipeline.trial.training.precision import resolve_precision

VALIDATION, CALIBRATION, TRAIN = "validation", "calibration", "train"
SEED = 0  # initialises nothing: the network is whole


def answers_of(data: TaskData) -> dict[str, npt.NDArray[np.generic]]:
    """Return the answers that `answered` gave, as the study's folder keeps them."""
    found = {VALIDATION: data.validation.labels, CALIBRATION: data.calibration.labels}
    return found | ({TRAIN: data.train.labels} if data.train.labels.ndim > 1 else {})


def answered(
    data: TaskData,
    source: ModelSource,
    kind: Kind,
    precision: str,
    *,
    device: str = AUTO,
    kept: Path | None,
) -> TaskData:
    """Return the rows with the dense network's predictions as their labels.

    Args:
        data: of a task without labels.
        source: the dense network.
        kind: of the task.
        precision: of the study.
        device: that the dense network runs on.
        kept: the file of earlier answers; it is not read if there is none.
    """
    parts = {VALIDATION: data.validation, CALIBRATION: data.calibration}
    parts |= {TRAIN: data.train} if kind.trains_on_answers else {}
    if kept is not None and kept.exists():
        found = read_weights(kept)
        labelled = [split.with_labels(found[name]) for name, split in parts.items()]
    else:
        labelled = [*answered_rows(source, kind, precision, *parts.values(), device=device)]
    return replace(data, **dict(zip(parts, labelled, strict=True)))


def answered_rows(
    source: ModelSource, kind: Kind, precision: str, *splits: Split, device: str = AUTO
) -> tuple[Split, ...]:
    """Return rows with the dense network's predictions as their labels."""
    model, _ = build(source, seed=SEED)
    there = device_of(device)
    nn.Module.to(model, there)
    how = resolve_precision(precision, there)
    return tuple(
        split.with_labels(kind.answers(kept_outputs(model, split, kind, precision=how))) for split in splits
    )
