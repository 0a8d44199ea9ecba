"""The folder of all studies: specs, records, and one table of points per study."""

from pipeline.store.recordfile import NO_SPACE
from pipeline.store.store import Outbox, Spent, Store, load_record, save_record
from pipeline.store.weights import RECOVERED, WEIGHTS, Retrained, Weights, before_cut

__all__ = [
    "NO_SPACE",
    "RECOVERED",
    "WEIGHTS",
    "Outbox",
    "Retrained",
    "Spent",
    "Store",
    "Weights",
    "before_cut",
    "load_record",
    "save_record",
]
