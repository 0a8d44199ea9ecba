"""Records to MLflow: off the driver's path, in order, once. What is owed is kept by the store, whoever dies."""

from pipeline.delivery.courier import Courier
from pipeline.delivery.syncing import Synced, sync
from pipeline.fronts.running_front import Tally

__all__ = ["Courier", "Synced", "Tally", "sync"]
