"""What a network learns from others beside its labels: one way, one file, behind the interface of `base`."""

from pipeline.trial.distillation.base import Distillation, DistillationInputs
from pipeline.trial.distillation.cap import Cap
from pipeline.trial.distillation.kd import Kd
from pipeline.trial.distillation.teacher import (
    Seen,
    Teacher,
    read_arrays,
    read_teacher,
    see,
    write_arrays,
    write_teacher,
)

DISTILLATIONS: dict[str, type[Distillation]] = {"cap": Cap, "kd": Kd}
NONE = "none"

__all__ = [
    "DISTILLATIONS",
    "NONE",
    "Distillation",
    "DistillationInputs",
    "Seen",
    "Teacher",
    "read_arrays",
    "read_teacher",
    "see",
    "write_arrays",
    "write_teacher",
]
