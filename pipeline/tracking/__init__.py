"""Records <-> MLflow, a published view of the ledger: the only door to it."""

from pipeline.tracking.addresses import shown
from pipeline.tracking.connection import TrackingLost
from pipeline.tracking.models import ExportedModel
from pipeline.tracking.opening import NoAnswer, address_of
from pipeline.tracking.tracker import Tracker, open_tracking

__all__ = [
    "ExportedModel",
    "NoAnswer",
    "Tracker",
    "TrackingLost",
    "address_of",
    "open_tracking",
    "shown",
]
