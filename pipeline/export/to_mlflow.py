"""Publish an exported network to MLflow, at its trial's run. MLflow is a view: no export fails because of it."""

from __future__ import annotations

from pathlib import Path

from pipeline.driver.tracking import ExportedModel, Tracker, TrackingLost, open_if_answering
from pipeline.export.card import Facts
from pipeline.study.store import Store
from pipeline.task.loading import Task


def reach_tracker(tracking: str | None, store: Store) -> tuple[Tracker | None, tuple[str, ...]]:
    """Open MLflow, or return a warning that it does not answer."""
    warnings: list[str] = []
    tracker = open_if_answering(
        tracking, store=store.root, log=warnings.append, consequence="The model is not in MLflow."
    )
    return tracker, tuple(warnings)


def publish(tracker: Tracker, folder: Path, facts: Facts, task: Task) -> tuple[str | None, tuple[str, ...]]:
    """Add the folder to the trial's run; return its address there, or a warning that it has none."""
    spec, point = facts.front.spec, facts.point
    if not task.kind.served:
        return None, (
            f"The model is not in MLflow: there classes and values are served, not {task.kind.name}.",
        )
    model = ExportedModel(
        trial=point.trial,
        name=f"{spec.name}-trial-{point.trial}-point-{point.point}",
        checkpoint=folder,
        text=task.text,
        max_length=task.max_length,
        classes=task.kind.one_class,
        values=_values(facts),
    )
    try:
        uri = tracker.publish_model(spec, model)
    except TrackingLost as lost:
        return None, (f"The model is not in MLflow. {lost}",)
    if uri is None:
        fact = f"trial {point.trial} is not there. Name its address by --tracking."
        return None, (f"The model is not in MLflow: {fact}",)
    return uri, ()


def _values(facts: Facts) -> dict[str, float]:
    """Return what was measured, by the names that MLflow shows (test/accuracy, latency_ms …).

    Times of a busy machine are none.
    """
    scores = {
        f"{part}/{name}": value for part, found in facts.scores.parts.items() for name, value in found.items()
    }
    for form in (each for each in facts.int8 if each.kept):
        scores |= {
            "int8/validation": form.validation,
            "int8/loss": form.loss,
            "int8/size_mb": form.size_bytes / 1e6,
        }
    quiet = (each for each in facts.times if not each.disturbed)
    return scores | {f"latency_ms/{each.bench.shape}": each.ms for each in quiet}
