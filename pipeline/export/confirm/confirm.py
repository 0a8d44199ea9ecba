"""Confirm chosen points of a study: train what is missing, keep what is there.

    front ─► points × fresh seeds ─► those not in the store yet ─► Ray ─► store, MLflow ─► means and intervals

This and `export` alone open the test rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.driver.execute import check_resources, connect, run_queue
from pipeline.driver.tracking import Tracker, TrackingLost, open_if_answering
from pipeline.export.confirm.points import choose_points, fresh_seed, trains_nothing
from pipeline.export.confirm.retrain import Retraining, SharedInputs, measure_itself, retrain
from pipeline.export.confirm_options import ConfirmOptions
from pipeline.export.reopen import reopen
from pipeline.fronts.bounds import Bounds
from pipeline.fronts.confirmed import Confirmed, load_confirmed
from pipeline.fronts.front import FrontPoint, load_front
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.store import Confirmation, Store
from pipeline.trial.replay import Goal

Log = Callable[[str], None]

LEAST_SEEDS = 2  # one has no spread


@dataclass(frozen=True, eq=False)
class ConfirmResult:
    """The chosen points as far as they are confirmed, and how many trainings of them are still missing."""

    confirmed: Confirmed
    missing: int
    lost: tuple[str, ...]  # errors of trainings that are no property of the point: the next call tries again


def confirm(
    study: str,
    *,
    seeds: int = ConfirmOptions.seeds,
    points: str = ConfirmOptions.points,
    minutes: float | None = ConfirmOptions.minutes,
    task: str | None = ConfirmOptions.task,
    store: Path | str = ConfirmOptions.store,
    tracking: str | None = ConfirmOptions.tracking,
    address: str | None = ConfirmOptions.address,
    concurrent: int | None = ConfirmOptions.concurrent,
    cpus_per_trial: float = ConfirmOptions.cpus_per_trial,
    gpus_per_trial: float | None = ConfirmOptions.gpus_per_trial,
    log: Log = lambda _: None,
    **bounds: Any,
) -> ConfirmResult:
    """Train chosen points of a front again on fresh seeds, as far as that is not done yet, and measure on test rows.

    Args:
        study: its name.
        seeds: how many fresh seeds each point is trained on, 2 or more.
        points: "best" (within the bounds), "all", "knee", or a number of points spread over the front.
        minutes: start no new training after this long; the same call continues.
        task: where the task is now, if it has moved.
        store: the folder of the store.
        tracking: MLflow's address; by default in the store.
        address: a running Ray cluster; by default this machine.
        concurrent: trainings at once; by default as many as fit.
        cpus_per_trial: cores, and threads, of a training.
        gpus_per_trial: may be a part; by default 1 where there are GPUs.
        log: called with a line when something begins or ends.
        bounds: of `pick`, such as max_drop=0.01.

    Returns:
        What is known of the points, from this call and earlier ones.

    Raises:
        BadInput: the request cannot be met; nothing has been written.
    """
    options = ConfirmOptions(
        seeds=seeds,
        points=points,
        minutes=minutes,
        task=task,
        store=Path(store),
        tracking=tracking,
        address=address,
        concurrent=concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    return confirm_study(study, options, log, Bounds(**bounds))


def confirm_study(
    study: str, options: ConfirmOptions, log: Log, bounds: Bounds | None = None
) -> ConfirmResult:
    """Do what `confirm` does, with all options in one object."""
    _check(options)
    store = Store(options.store)
    found = load_front(study, store=store.root)
    chosen = choose_points(found, options.points, bounds)
    todo = list(_missing(store, found.spec, chosen, seeds=options.seeds))
    lost: list[str] = []
    tracker = open_if_answering(
        options.tracking,
        store=store.root,
        log=log,
        consequence="The confirmation goes on; the same command publishes it when MLflow answers.",
    )
    if todo:
        log("reading the task and the model")
        opened = reopen(store, study, task=options.task)
        test, kind = opened.test(), opened.inputs.kind
        store.study(study).confirmations.write_test(kind.ids(test), kind.labels(test))
        progress = _Progress(found.spec, len(todo), log, lost)
        as_they_are, to_train = _by_training(store, found.spec, todo)
        if as_they_are:
            log(f"nothing is trained in this study: {len(as_they_are)} networks are measured as they are")
        for item in _until(options.minutes, as_they_are):
            progress.ended(item, measure_itself(opened, item))
        if to_train:
            log(f"starting Ray: {len(to_train)} trainings")
            with connect(options.resources, shared_bytes=opened.inputs.source.nbytes) as cluster:
                inputs = replace(opened.inputs, device=cluster.device)
                shared = SharedInputs(inputs, test, store.place, study)
                run_queue(cluster, retrain, shared, _until(options.minutes, to_train), ended=progress.ended)
    known = load_confirmed(study, store=store.root)
    if known is None:
        raise RuntimeError(f"No training of {study} came to its end: {'; '.join(lost)}")
    _publish(known, tracker, log)
    places = {(point.trial, point.point) for point in chosen}
    confirmed = replace(known, points=tuple(p for p in known.points if (p.trial, p.point) in places))
    missing = sum(1 for _ in _missing(store, found.spec, chosen, seeds=options.seeds))
    return ConfirmResult(confirmed, missing, tuple(lost))


def _check(options: ConfirmOptions) -> None:
    if options.seeds < LEAST_SEEDS:
        raise BadInput(
            f"--seeds is {options.seeds}. A spread is over {LEAST_SEEDS} seeds or more. Five are a "
            "good start."
        )
    if options.minutes is not None and options.minutes <= 0:
        raise BadInput(f"--minutes is {options.minutes:g}. Give more than 0.")
    check_resources(options.resources)


def _missing(
    store: Store, spec: StudySpec, chosen: Sequence[FrontPoint], *, seeds: int
) -> Iterator[Retraining]:
    """Iterate over missing trainings, seed by seed, so that all points have about as many when time is up."""
    kept = store.study(spec.name).confirmations
    records = {point.trial: store.study(spec.name).read_record(point.trial) for point in chosen}
    for number in range(seeds):
        for point in chosen:
            record = records[point.trial]
            untrained = trains_nothing(spec, record)
            if not kept.has(point.trial, point.point, number) and not (untrained and number):
                threshold = record.points[point.point].threshold
                goal = Goal(point.kind, point.round, threshold, getattr(point, spec.share))
                seed = record.seed if untrained else fresh_seed(spec.seed, number)
                yield Retraining(point.trial, point.point, number, seed, record.params, goal)


def _by_training(
    store: Store, spec: StudySpec, items: Sequence[Retraining]
) -> tuple[list[Retraining], list[Retraining]]:
    """Return the items whose trials trained nothing, and the others."""
    numbers = {item.trial for item in items}
    untrained = {each for each in numbers if trains_nothing(spec, store.study(spec.name).read_record(each))}
    return [item for item in items if item.trial in untrained], [
        item for item in items if item.trial not in untrained
    ]


def _until(minutes: float | None, items: Sequence[Retraining]) -> Iterator[Retraining]:
    """Iterate over the items until the time is up."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    for item in items:
        if end is not None and time.monotonic() >= end:
            return
        yield item


@dataclass
class _Progress:
    """Logs each training as it ends, and collects those that were lost."""

    spec: StudySpec
    total: int
    log: Log
    lost: list[str]
    done: int = 0

    def ended(self, item: Retraining, result: Confirmation | Exception) -> None:
        self.done += 1
        which = f"{self.done}/{self.total}  trial {item.trial}, point {item.point}, seed {item.number + 1}:"
        if isinstance(result, Exception):
            why = " ".join(str(result).split())[-300:]
            self.lost.append(f"trial {item.trial}, point {item.point}: {why}")
            self.log(f"{which} lost: {why}")
        elif result.measurement is None:
            self.log(f"{which} failed: {result.reason}")
        else:
            measured = result.measurement
            self.log(
                f"{which} {self.spec.metric_name} {measured.metric:.4f} on test at {self.spec.share} "
                f"{100 * measured.share:.1f} %"
            )


def _publish(found: Confirmed, tracker: Tracker | None, log: Log) -> None:
    """Publish to MLflow, a view: if it fails, nothing is lost, and the next call publishes again."""
    if tracker is None:
        return
    try:
        if not tracker.publish_confirmed(found):
            log(
                f"MLflow does not have study {found.spec.name} yet; confirm again once its search has published it."
            )
    except TrackingLost as lost:
        log(f"{lost} The confirmations are not there yet; the same command brings them.")
