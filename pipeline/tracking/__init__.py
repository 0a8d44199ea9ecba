"""Records <-> MLflow, a published view of the ledger: the only door to it."""

from pipeline.tracking.connection import TrackingLost
from pipeline.tracking.models import ExportedModel
from pipeline.tracking.tracker import Tracker, open_tracking

__all__ = ["ExportedModel", "Tracker", "TrackingLost", "open_tracking"]
