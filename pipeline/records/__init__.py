"""What travels between rooms: frozen dataclasses, numpy arrays, no behaviour beyond their own laws."""

from pipeline.records.network import UNIT_KINDS, Masks, Measurement, Point, Scores
from pipeline.records.objectives import OBJECTIVES, Anchors, Objective
from pipeline.records.plain import Array, BadInput, BoolArray, FloatArray, Kind, Params, ParamValue, State
from pipeline.records.study import StudySpec, TaskReference
from pipeline.records.trial import RUNG_COLUMNS, HistoryRow, Rung, TrialRecord

__all__ = [
    "OBJECTIVES",
    "RUNG_COLUMNS",
    "UNIT_KINDS",
    "Anchors",
    "Array",
    "BadInput",
    "BoolArray",
    "FloatArray",
    "HistoryRow",
    "Kind",
    "Masks",
    "Measurement",
    "Objective",
    "ParamValue",
    "Params",
    "Point",
    "Rung",
    "Scores",
    "State",
    "StudySpec",
    "TaskReference",
    "TrialRecord",
]
