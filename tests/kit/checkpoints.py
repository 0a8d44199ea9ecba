"""A checkpoint made by hand."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.study.records import HistoryRow, Masks, Measurement, Point, TrialRecord
from pipeline.trial.checkpoint import Checkpoint
from pipeline.trial.training.loop import LoopState


def checkpoint(phase: int = 1, step: int = 7, *, value: float = 0.5, cut: bool = True) -> Checkpoint:
    masks = Masks.full(2, 3, 4)
    masks.heads[0, 1] = False
    tensors = {
        "model": {"weight": torch.full((40, 50), value), "steps": torch.tensor(3)},
        "optimizer": {
            "state": {0: {"exp_avg": torch.ones(2)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.9)}],
        },
        "method": {},
    }
    measured = Measurement(0.75, {"metric": 0.75}, 0.25, 0.2, 100, 80, 1_000, 0.4)
    point = Point("curve", 0, 0.125, measured, masks, np.array([1, 0, 2], np.int16))
    so_far = TrialRecord(
        4,
        "complete",
        "",
        {"rounds": 2, "shape": "log"},
        9,
        (point,),
        (HistoryRow("tune", 0, 1.0, {"loss": value}),),
    )
    return Checkpoint(phase, LoopState(step, tensors), masks if cut else None, so_far)
