"""The folder of all studies: specs, records, and one table of points per study."""

from pipeline.store.latency import Bench, LatencyTable, Shape, StudyLatency, Timed, TimedPoint
from pipeline.store.store import Store, load_record, save_record
from pipeline.store.weights import RECOVERED, WEIGHTS, Retrained, Weights, before_cut

__all__ = [
    "RECOVERED",
    "WEIGHTS",
    "Bench",
    "LatencyTable",
    "Retrained",
    "Shape",
    "Store",
    "StudyLatency",
    "Timed",
    "TimedPoint",
    "Weights",
    "before_cut",
    "load_record",
    "save_record",
]
