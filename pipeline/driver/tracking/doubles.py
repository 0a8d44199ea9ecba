"""Runs that are there twice: of drivers or syncs that published at once, or of a request that was sent again.

MLflow's client sends a request again whose answer was lost, so that a run may be made twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.driver.tracking.connection import PARENT, Connection, Run
from pipeline.driver.tracking.published import ENDED, TRIAL


def merge(mlflow: Connection, experiment_id: str, kept: str, others: Sequence[Run]) -> None:
    """Bring further runs of a study into one, whose id is `kept`."""
    for other in others:
        move_trials(mlflow, experiment_id, kept, other.id)
        mlflow.delete(other.id)


def move_trials(mlflow: Connection, experiment_id: str, kept: str, other: str) -> None:
    """Put the trials below a study's run whose id is `kept` that are below another one, which may be gone."""
    for run in mlflow.runs(experiment_id, tag=PARENT, value=other):
        mlflow.write(run.id, tags={PARENT: kept})


def trials_of(mlflow: Connection, experiment_id: str, run_id: str) -> dict[int, Run]:
    """Return a study's trials in MLflow, by number; of two runs of one the one that ended, else the older, stays."""
    found: dict[int, Run] = {}
    for run in mlflow.runs(experiment_id, tag=PARENT, value=run_id):
        if TRIAL not in run.tags:
            continue  # a user's own run below ours
        number = int(run.tags[TRIAL])
        other = found.setdefault(number, run)
        if other is not run:
            better = run.status in ENDED and other.status not in ENDED
            found[number], drop = (run, other) if better else (other, run)
            mlflow.delete(drop.id)
    return found
