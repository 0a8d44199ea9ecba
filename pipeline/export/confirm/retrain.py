"""Train one point on one fresh seed, in a worker: tune, cut, recover, measure on test rows; or measure it as it is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.export.network import network_of
from pipeline.export.reopen import Reopened
from pipeline.study.provenance import provenance
from pipeline.study.records import Ask, Params
from pipeline.study.store import NO_PREDICTIONS, Confirmation, Store
from pipeline.task.batches import Split
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import measure
from pipeline.trial.replay import Goal, Repeated, repeat_trial
from pipeline.trial.training.loop import TrainingFailed


@dataclass(frozen=True)
class SharedInputs:
    """What all workers get through the object store."""

    inputs: TrialInputs
    test: Split
    root: Path
    study: str


@dataclass(frozen=True)
class Retraining:
    """A point to train again: the parameters of its trial, and what it comes to."""

    trial: int
    point: int
    number: int  # of the fresh seed
    seed: int
    params: Params
    goal: Goal


def retrain(shared: SharedInputs, item: Retraining) -> Confirmation:
    """Train a point on a fresh seed, measure it, and write its confirmation into the store.

    A training that diverges is a result, too, and is written as failed.
    """
    started = time.monotonic()
    job = TrialJob(Ask(item.trial, item.params, item.seed), checkpoint_s=math.inf, keep_weights=False)
    try:
        found = _measured(
            shared, item, repeat_trial(shared.inputs, job, lambda _: None, goal=item.goal), started
        )
    except TrainingFailed as failure:
        found = Confirmation(
            item.trial,
            item.point,
            item.number,
            item.seed,
            "failed",
            str(failure),
            None,
            None,
            0.0,
            time.monotonic() - started,
            provenance(),
            NO_PREDICTIONS,
        )
    Store(shared.root).study(shared.study).confirmations.write(found)
    return found


def measure_itself(study: Reopened, item: Retraining) -> Confirmation:
    """Measure the network of a trial that trained nothing on test rows, and write its confirmation into the store."""
    started = time.monotonic()
    own = network_of(study, item.trial, item.point)
    found = _measured(
        SharedInputs(study.inputs, study.test(), study.store.place, study.spec.name),
        item,
        Repeated(own.model, own.anatomy, 0.0, "measured as it is: nothing is trained in this study"),
        started,
    )
    study.store.study(study.spec.name).confirmations.write(found)
    return found


def _measured(shared: SharedInputs, item: Retraining, network: Repeated, started: float) -> Confirmation:
    inputs = shared.inputs
    on_test = inputs.evaluate(network.model, shared.test)
    return Confirmation(
        trial=item.trial,
        point=item.point,
        number=item.number,
        seed=item.seed,
        state="complete",
        reason=network.remark,
        measurement=measure(
            network.model, network.anatomy, on_test, length=inputs.length, count_zeros=inputs.zeroes
        ),
        validation=inputs.evaluate(network.model).metrics["metric"],
        epochs=network.epochs,
        seconds=time.monotonic() - started,
        provenance=provenance(),
        predictions=on_test.predictions,
    )
