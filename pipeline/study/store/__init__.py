"""The store of all studies: specs, records, and one table of points per study."""

from pipeline.study.store.attempts import mark_died, remove
from pipeline.study.store.beginning import begin_study, new_word
from pipeline.study.store.confirmations import NO_PREDICTIONS, Confirmation, Confirmations
from pipeline.study.store.databases import JOURNAL, SQLITE, journal_folder, sqlite_file, sqlite_url
from pipeline.study.store.exports import TestScores
from pipeline.study.store.int8 import Int8Scores
from pipeline.study.store.latency import (
    UNDISTURBED,
    LatencySetup,
    LatencyTable,
    Shape,
    StudyLatency,
    Timed,
    TimedPoint,
)
from pipeline.study.store.objects import (
    RETRY_PAUSES_S,
    ObjectStoreLost,
    drop,
    is_object_store,
    place_text,
    send,
)
from pipeline.study.store.recordfile import NO_SPACE, SQLITE_FULL, Damaged, load_record, save_record
from pipeline.study.store.store import DEFAULT_STORE, Store, store_option
from pipeline.study.store.study import StudyStore
from pipeline.study.store.study_table import Points, StudyTable, TrialRow, curve_params
from pipeline.study.store.studyfile import LATER, Asked, Began, DataFacts, LedgerPlace, Outbox, Spent
from pipeline.study.store.weights import RECOVERED, WEIGHTS, Retrained, Weights, before_cut

__all__ = [
    "DEFAULT_STORE",
    "JOURNAL",
    "LATER",
    "NO_PREDICTIONS",
    "NO_SPACE",
    "RECOVERED",
    "RETRY_PAUSES_S",
    "SQLITE",
    "SQLITE_FULL",
    "UNDISTURBED",
    "WEIGHTS",
    "Asked",
    "Began",
    "Confirmation",
    "Confirmations",
    "Damaged",
    "DataFacts",
    "Int8Scores",
    "LatencySetup",
    "LatencyTable",
    "LedgerPlace",
    "ObjectStoreLost",
    "Outbox",
    "Points",
    "Retrained",
    "Shape",
    "Spent",
    "Store",
    "StudyLatency",
    "StudyStore",
    "StudyTable",
    "TestScores",
    "Timed",
    "TimedPoint",
    "TrialRow",
    "Weights",
    "before_cut",
    "begin_study",
    "curve_params",
    "drop",
    "is_object_store",
    "journal_folder",
    "load_record",
    "mark_died",
    "new_word",
    "place_text",
    "remove",
    "save_record",
    "send",
    "sqlite_file",
    "sqlite_url",
    "store_option",
]
