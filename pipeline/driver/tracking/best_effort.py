"""Publish to MLflow what can wait: a report's page, a fitted pruner. A failure is only logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.driver.tracking.connection import TrackingLost
from pipeline.driver.tracking.opening import NoAnswer
from pipeline.driver.tracking.tracker import Tracker, open_tracking
from pipeline.study.records import BadInput, StudySpec

Log = Callable[[str], None]


def publish_report(page: str, specs: Sequence[StudySpec], *, store: Path, tracking: str | None) -> list[str]:
    """Keep a page at the run of each study; return what could not be done, a line each."""
    remarks: list[str] = []
    try:
        tracker = open_tracking(tracking, store_root=store)
        for spec in specs:
            if not tracker.publish_report(spec, page):
                remarks.append(f"MLflow does not have study {spec.name}: the page is not kept there.")
    except (TrackingLost, BadInput) as lost:
        remarks.append(f"{lost} The page is not kept there.")
    return remarks


def open_if_answering(tracking: str | None, *, store: Path, log: Log, consequence: str) -> Tracker | None:
    """Open MLflow before long work; if no server answers now, log that with its consequence and return None.

    Raises:
        BadInput: the address is no place for runs.
    """
    try:
        return open_tracking(tracking, store_root=store)
    except NoAnswer as refusal:
        log(f"{refusal} {consequence}")
        return None


def publish_pruner(
    tracker: Tracker | None, about: Mapping[str, Any], files: Sequence[Path], *, log: Log
) -> None:
    """Publish a fitted pruner. If it fails, nothing is lost: the next call publishes again."""
    if tracker is None:
        return
    try:
        tracker.publish_pruner(about, files)
    except TrackingLost as lost:
        log(f"{lost} The pruner is not there yet; the same command brings it.")
