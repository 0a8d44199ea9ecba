"""Publish records to MLflow, a view of the ledger; no other part of the package imports mlflow.

Names are imported on first use: a command that only reads needs two of them, and not what publishes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.driver.tracking.addresses import shown
    from pipeline.driver.tracking.best_effort import open_if_answering, publish_pruner, publish_report
    from pipeline.driver.tracking.connection import TrackingLost
    from pipeline.driver.tracking.later import Later
    from pipeline.driver.tracking.models import ExportedModel
    from pipeline.driver.tracking.opening import NoAnswer, address_of
    from pipeline.driver.tracking.own_pages import page_of
    from pipeline.driver.tracking.publisher import Publisher
    from pipeline.driver.tracking.syncing import Synced, sync
    from pipeline.driver.tracking.tracker import Tracker, open_tracking

_PLACES = {
    "ExportedModel": "models",
    "Later": "later",
    "NoAnswer": "opening",
    "Publisher": "publisher",
    "Synced": "syncing",
    "Tracker": "tracker",
    "TrackingLost": "connection",
    "address_of": "opening",
    "open_if_answering": "best_effort",
    "open_tracking": "tracker",
    "page_of": "own_pages",
    "publish_pruner": "best_effort",
    "publish_report": "best_effort",
    "shown": "addresses",
    "sync": "syncing",
}
__all__ = [
    "ExportedModel",
    "Later",
    "NoAnswer",
    "Publisher",
    "Synced",
    "Tracker",
    "TrackingLost",
    "address_of",
    "open_if_answering",
    "open_tracking",
    "page_of",
    "publish_pruner",
    "publish_report",
    "shown",
    "sync",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
