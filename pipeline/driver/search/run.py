"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run.

    task ─► rows ─┐
    model ────────┼─► anchors ─► StudySpec, frozen ─► ledger ⇄ trials on Ray ─► store, MLflow ─► front
    space ────────┘

The driver is the only one that writes to the ledger and to MLflow. Everything a person gives is checked before
anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.driver.execute import Cluster, Packing, Resources, TrialQueue, connect, pack, run_trials
from pipeline.driver.search.budget import Meter
from pipeline.driver.search.check import check_gpu_hours
from pipeline.driver.search.dense import find_anchors, find_peak, find_teacher, open_study
from pipeline.driver.search.gpu_sharing import FirstOnes, alone, peak_of_trials
from pipeline.driver.search.latency import find_table, time_networks
from pipeline.driver.search.request import (
    ALL,
    DEFAULT_CHECKPOINT_S,
    DEFAULT_SCHEDULER,
    DEFAULT_TASK,
    DEFAULT_TRIALS,
    FRONT,
    Search,
)
from pipeline.driver.search.resolved import ResolvedSearch, read_asked
from pipeline.driver.search.shared_store import check_shared
from pipeline.driver.search.study_queue import StudyQueue
from pipeline.driver.search.watcher import SilentWatcher, Watcher
from pipeline.driver.tracking import NoAnswer, Publisher, Tracker, address_of, open_tracking, shown
from pipeline.fronts.front import Front, load_front
from pipeline.model.resolve import BUILTIN
from pipeline.study.halving import Halving
from pipeline.study.ledger import Lease, Ledger, open_ledger
from pipeline.study.records import StudySpec, refer
from pipeline.study.store import DEFAULT_STORE, Store
from pipeline.trial.distillation import NONE
from pipeline.trial.inputs import TrialInputs, with_dense
from pipeline.trial.training.compilation import OFF
from pipeline.trial.training.process import free_memory_mb, mps_runs

LEARNED_NOTHING = (
    "The dense network is no better than a constant prediction: it has nothing that a cut could cost, and hypervolume "
    "has no value in %. Look at the task's columns and labels, and at learning_rate and tune_epochs of the space."
)


def search(
    *,
    task: str = DEFAULT_TASK,
    model: str = BUILTIN,
    method: str = "snip",
    space: Path | str | None = None,
    trials: int = DEFAULT_TRIALS,
    minutes: float | None = None,
    gpu_hours: float | None = None,
    until_hypervolume_flat: int | None = None,
    concurrent: int | None = None,
    seed: int = 0,
    name: str | None = None,
    sampler: str = "tpe",
    scheduler: str = DEFAULT_SCHEDULER,
    precision: str = "auto",
    activation_checkpointing: bool = False,
    compile: str = OFF,
    start: str | None = None,
    store: Path | str = DEFAULT_STORE,
    ledger: str | None = None,
    tracking: str | None = None,
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float | None = None,
    text: tuple[str, ...] = (),
    label: str | None = None,
    metric: str | None = None,
    trust_remote_code: bool = False,
    objective: str | None = None,
    distill: str = NONE,
    warm_start: str | None = None,
    latency_grid: str | None = None,
    take_over: bool = False,
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_S,
    keep_weights: str = FRONT,
    watcher: Watcher | None = None,
) -> Front:
    """`prunefront search` from Python: the same options, and the front comes back.

    Raises:
        BadInput: what was asked cannot be done; nothing has been written.
    """
    wanted = Search(
        task=task,
        model=model,
        method=method,
        space=None if space is None else Path(space),
        trials=trials,
        minutes=minutes,
        gpu_hours=gpu_hours,
        until_hypervolume_flat=until_hypervolume_flat,
        seed=seed,
        name=name,
        sampler=sampler,
        scheduler=scheduler,
        precision=precision,
        activation_checkpointing=activation_checkpointing,
        compile=compile,
        start=start,
        store=Path(store),
        ledger=ledger,
        tracking=tracking,
        resources=Resources(address, concurrent, cpus_per_trial, gpus_per_trial),
        text=text,
        label=label,
        metric=metric,
        trust_remote_code=trust_remote_code,
        objective=objective,
        distill=distill,
        warm_start=warm_start,
        latency_grid=latency_grid,
        take_over=take_over,
        checkpoint_seconds=checkpoint_seconds,
        keep_weights=keep_weights,
    )
    return run(wanted, watcher or SilentWatcher())


def run(wanted: Search, watcher: Watcher) -> Front:
    """Runs a study, or goes on with it, and returns its front.

    Raises:
        BadInput: what was asked cannot be done; nothing has been written.
        LedgerLost, LeaseLost, ObjectStoreLost: it cannot go on; what was found is kept, the same call goes on with it.
    """
    asked = read_asked(wanted, watcher)
    with ExitStack() as stack:
        lease = None
        if asked.known is not None:
            # another study of this name, or driver, is refused before anything is started
            ledger = open_ledger(asked.ledger_url, asked.spec(asked.known), asked.space, trials=wanted.trials)
            lease = stack.enter_context(asked.hold())
            ledger.check_store(asked.store)
        tracker = None
        if wanted.tracking or os.environ.get("MLFLOW_TRACKING_URI"):  # looked for first: it may not answer
            tracker = _reach(wanted, asked.store, watcher, must=asked.known is None)
        watcher.stage("starting Ray")
        shared_bytes = sum(array.nbytes for array in asked.inputs.source.weights.values())
        cluster = stack.enter_context(connect(wanted.resources, shared_bytes=shared_bytes))
        check_gpu_hours(wanted, cluster.gpus_per_trial)
        check_shared(wanted, asked.store)
        if lease is None:
            asked.store.root.mkdir(parents=True, exist_ok=True)
            lease = stack.enter_context(asked.hold())
        stack.enter_context(asked.store.retrying(watcher.warn))
        begun = _begin(asked, cluster, lease, watcher)
        desk = _desk(asked, begun, lease, watcher, tracker=tracker)
        try:
            _run_trials(asked, begun, desk, watcher)
        finally:
            desk.close()
    return load_front(asked.name, store=asked.store.root)


@dataclass(frozen=True, eq=False)
class _Begun:
    """A study that trials can run for: frozen, its folder whole, its ledger open."""

    spec: StudySpec
    ledger: Ledger
    inputs: TrialInputs
    packing: Packing
    pack_again: Callable[[], Packing]  # by what trials have needed so far


def _begin(asked: ResolvedSearch, cluster: Cluster, lease: Lease, watcher: Watcher) -> _Begun:
    """Measures the anchors if the study is new, freezes it, and says how many trials run at once."""
    wanted, store, task = asked.wanted, asked.store, asked.task
    anchors, dense = asked.known, None
    if anchors is None:
        anchors, dense = find_anchors(cluster, store, task, asked.inputs, watcher, method=wanted.method)
    peak = find_peak(store, task, asked.inputs, method=wanted.method)
    free_mb = free_memory_mb() if wanted.resources.address is None else None
    mps = mps_runs() if wanted.resources.address is None else None
    packed = partial(pack, wanted.resources, cluster, free_mb=free_mb, mps=mps)
    packing = packed(peak_of_trials(store, asked.name, peak))
    spec = asked.spec(anchors)
    ledger = open_ledger(asked.ledger_url, spec, asked.space, trials=wanted.trials, may_write=lease.check)
    reference = refer(wanted.task, text=wanted.text, label=wanted.label, metric=wanted.metric)
    needs_dense = asked.space.may_have("start_dense", True) or spec.distill != NONE
    open_study(store, spec, asked.inputs, reference, dense=dense if needs_dense else None)
    inputs = with_dense(asked.inputs, store, spec.name)
    inputs = find_teacher(packing.cluster, store, spec, inputs, asked.space, watcher)
    return _Begun(spec, ledger, inputs, packing, lambda: packed(peak_of_trials(store, spec.name, peak)))


def _desk(
    asked: ResolvedSearch, begun: _Begun, lease: Lease, watcher: Watcher, *, tracker: Tracker | None
) -> StudyQueue:
    """The study's desk, with a courier on its way to MLflow."""
    wanted, store, spec = asked.wanted, asked.store, begun.spec
    courier = Publisher(
        spec,
        store=store,
        open_tracker=partial(open_tracking, wanted.tracking, store_root=store.root),
        may_write=lease.check,
        address=shown(address_of(wanted.tracking, store_root=store.root)),
    )
    courier.start(tracker)
    watcher.anchors(spec)
    if spec.anchors.dense <= spec.anchors.constant:
        watcher.warn(LEARNED_NOTHING)
    return StudyQueue(
        spec,
        wanted.budget,
        store=store,
        ledger=begun.ledger,
        courier=courier,
        watcher=watcher,
        meter=Meter(store, spec.name, gpus_per_trial=begun.packing.cluster.gpus_per_trial),
        halving=Halving(spec.values, spec.reference_point) if wanted.scheduler == "asha" else None,
        keep_all_weights=wanted.keep_weights == ALL,
    )


def _run_trials(asked: ResolvedSearch, begun: _Begun, desk: StudyQueue, watcher: Watcher) -> None:
    """All trials that are owed, with the table of latencies before them and the front's latencies after them."""
    spec, inputs, cluster = begun.spec, begun.inputs, begun.packing.cluster
    desk.settle()
    if desk.has_work():
        if asked.shapes:
            table = find_table(cluster, asked.store, spec, inputs.source, asked.shapes[0], watcher)
            inputs = replace(inputs, latency=table)
        packing = _probe(asked, begun, inputs, desk, watcher)
        if desk.has_work():
            watcher.stage(f"running trials, {packing.reason}")
            _run(asked, packing.cluster, inputs, desk)
    if asked.shapes:
        time_networks(cluster, asked.store, spec, inputs.source, asked.shapes, watcher)


def _probe(
    asked: ResolvedSearch, begun: _Begun, inputs: TrialInputs, desk: StudyQueue, watcher: Watcher
) -> Packing:
    """Runs the first trial of each GPU alone where trials are to share it; gives the packing of all others."""
    first = alone(begun.packing)
    if first is None:
        return begun.packing
    watcher.stage("running the first trial of each GPU alone, to see what it needs")
    desk.meter.gpus_per_trial = first.gpus_per_trial
    _run(asked, first, inputs, FirstOnes(desk, first.concurrent))
    packing = begun.pack_again()
    desk.meter.gpus_per_trial = packing.cluster.gpus_per_trial
    return packing


def _run(asked: ResolvedSearch, cluster: Cluster, inputs: TrialInputs, desk: TrialQueue) -> None:
    run_trials(
        cluster,
        inputs,
        store=asked.store,
        study=asked.name,
        desk=desk,
        checkpoint_s=asked.wanted.checkpoint_seconds,
    )


def _reach(wanted: Search, store: Store, watcher: Watcher, *, must: bool) -> Tracker | None:
    """MLflow as asked for; None if nobody answers and it need not be now: an address that was never right is refused.

    Raises:
        BadInput: it is no place for runs, or must answer and does not.
    """
    try:
        return open_tracking(wanted.tracking, store_root=store.root)
    except NoAnswer as refusal:
        if must:
            raise
        watcher.warn(
            f"{refusal} This study has begun and goes on; MLflow gets what it is owed when it answers."
        )
        return None
