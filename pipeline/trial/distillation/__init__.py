"""Distillation: what a network learns from other networks beside its labels; one method, one file (see `base`)."""

from pipeline.trial.distillation.base import Distillation, DistillationInputs
from pipeline.trial.distillation.cap import Cap
from pipeline.trial.distillation.kd import Kd
from pipeline.trial.distillation.layers import Layers
from pipeline.trial.distillation.teacher import (
    Outputs,
    Teacher,
    compute_outputs,
    read_arrays,
    read_teacher,
    write_arrays,
    write_teacher,
)

DISTILLATIONS: dict[str, type[Distillation]] = {"cap": Cap, "kd": Kd, "layers": Layers}
NONE = "none"

__all__ = [
    "DISTILLATIONS",
    "NONE",
    "Distillation",
    "DistillationInputs",
    "Layers",
    "Outputs",
    "Teacher",
    "compute_outputs",
    "read_arrays",
    "read_teacher",
    "write_arrays",
    "write_teacher",
]
