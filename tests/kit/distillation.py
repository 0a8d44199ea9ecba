"""A teacher for tests, and settings."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from pipeline.study.records import Params
from pipeline.task.batches import Split
from pipeline.trial.distillation import (
    DISTILLATIONS,
    Distillation,
    DistillationInputs,
    Teacher,
    compute_outputs,
)
from tests.kit.kinds import CLASSES, VALUES

KD: Params = {"kd_weight": 0.7, "kd_temperature": 2.0}
CAP: Params = KD | {
    "cap_temperature": 0.2,
    "cap_same_row": 0.3,
    "cap_same_class": 0.4,
    "cap_negatives": 4096,
    "cap_pretrained": True,
    "cap_snapshots": True,
    "cap_finetuned": True,
}


LAYERS: Params = KD | {"hidden_weight": 0.5}
SETTINGS: dict[str, Params] = {"kd": KD, "cap": CAP, "layers": LAYERS}


def make(name: str, **changes: object) -> Distillation:
    return DISTILLATIONS[name](**SETTINGS[name] | changes)


def teacher_of(dense: PreTrainedModel, pretrained: PreTrainedModel, split: Split) -> Teacher:
    found = compute_outputs(dense, split, CLASSES, precision="fp32", layers=True)
    before = compute_outputs(pretrained, split, CLASSES, precision="fp32")
    return Teacher(found.logits, found.features, before.features, found.layers)


def lessons(teacher: Teacher, split: Split, *, regression: bool = False, seed: int = 3) -> DistillationInputs:
    return DistillationInputs(
        teacher, split.labels, VALUES if regression else CLASSES, torch.device("cpu"), seed
    )
