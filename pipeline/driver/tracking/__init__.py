"""Publish records to MLflow, a view of the ledger; no other part of the package imports mlflow."""

from pipeline.driver.tracking.addresses import shown
from pipeline.driver.tracking.best_effort import open_if_answering, publish_pruner, publish_report
from pipeline.driver.tracking.connection import TrackingLost
from pipeline.driver.tracking.later import Later
from pipeline.driver.tracking.models import ExportedModel
from pipeline.driver.tracking.opening import NoAnswer, address_of
from pipeline.driver.tracking.own_pages import page_of
from pipeline.driver.tracking.publisher import Publisher
from pipeline.driver.tracking.sync import Synced, sync
from pipeline.driver.tracking.tracker import Tracker, open_tracking

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
