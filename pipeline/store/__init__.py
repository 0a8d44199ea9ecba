"""The folder of all studies: specs, records, and one table of points per study."""

from pipeline.store.confirmations import NO_PREDICTIONS, Confirmation, Confirmations
from pipeline.store.exports import TestScores
from pipeline.store.recordfile import NO_SPACE
from pipeline.store.store import Outbox, Spent, Store, load_record, save_record
from pipeline.store.weights import RECOVERED, WEIGHTS, Retrained, Weights, before_cut

__all__ = [
    "NO_PREDICTIONS",
    "NO_SPACE",
    "RECOVERED",
    "WEIGHTS",
    "Confirmation",
    "Confirmations",
    "Outbox",
    "Retrained",
    "Spent",
    "Store",
    "TestScores",
    "Weights",
    "before_cut",
    "load_record",
    "save_record",
]
