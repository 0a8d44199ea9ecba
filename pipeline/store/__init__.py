"""The folder of all studies: specs, records, and one table of points per study."""

from pipeline.store.store import Store, load_record, save_record
from pipeline.store.weights import RECOVERED, WEIGHTS, Retrained, Weights, before_cut

__all__ = [
    "RECOVERED",
    "WEIGHTS",
    "Retrained",
    "Store",
    "Weights",
    "before_cut",
    "load_record",
    "save_record",
]
