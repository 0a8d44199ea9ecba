"""The dataclasses that pass between modules: frozen, of numpy arrays, with no behaviour but their own invariants."""

from pipeline.study.records.ask import Ask
from pipeline.study.records.front_so_far import FrontSoFar
from pipeline.study.records.network import (
    UNIT_KINDS,
    Masks,
    Measurement,
    OriginalSize,
    Point,
    PointRef,
    Scores,
)
from pipeline.study.records.objectives import OBJECTIVES, Anchors, Objective
from pipeline.study.records.study import StudySpec, TaskReference, refer
from pipeline.study.records.trial import RUNG_COLUMNS, TUNED, UNRECOVERED, HistoryRow, Rung, TrialRecord
from pipeline.study.records.types import (
    Array,
    BadInput,
    BoolArray,
    FloatArray,
    Kind,
    NetworkLost,
    Params,
    ParamValue,
    State,
)

__all__ = [
    "OBJECTIVES",
    "RUNG_COLUMNS",
    "TUNED",
    "UNIT_KINDS",
    "UNRECOVERED",
    "Anchors",
    "Array",
    "Ask",
    "BadInput",
    "BoolArray",
    "FloatArray",
    "FrontSoFar",
    "HistoryRow",
    "Kind",
    "Masks",
    "Measurement",
    "NetworkLost",
    "Objective",
    "OriginalSize",
    "ParamValue",
    "Params",
    "Point",
    "PointRef",
    "Rung",
    "Scores",
    "State",
    "StudySpec",
    "TaskReference",
    "TrialRecord",
    "refer",
]
