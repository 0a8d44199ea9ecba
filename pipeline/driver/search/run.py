"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run.

    task ─► rows ─┐
    model ────────┼─► anchors ─► StudySpec, frozen ─► ledger ⇄ trials on Ray ─► store, MLflow ─► front
    space ────────┘

Where no trial needs the dense network, it is trained beside the first ones, and the spec is whole after that. Only
the driver writes to the ledger and to MLflow. The whole request is checked before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from pipeline.driver.also import reporting
from pipeline.driver.execute import (
    OPEN,
    Cluster,
    Packing,
    cluster_of_this_machine,
    connect,
    is_open,
    pack,
    run_trials,
)
from pipeline.driver.search.budget import Meter
from pipeline.driver.search.check import check_on
from pipeline.driver.search.dense import find_anchors, find_peak, write_teacher_of
from pipeline.driver.search.dense_beside import DenseBeside, pending_spec, trains_beside
from pipeline.driver.search.gpu_sharing import alone, grows, peak_of_trials
from pipeline.driver.search.latency import find_table, time_networks
from pipeline.driver.search.request import ALL, Search
from pipeline.driver.search.resolved import ResolvedSearch, resolve
from pipeline.driver.search.shared_store import check_shared
from pipeline.driver.search.spec import make_spec, open_study
from pipeline.driver.search.study_queue import StudyQueue
from pipeline.driver.search.study_results import StudyResults
from pipeline.driver.search.tracked import publisher_of, reach_tracking
from pipeline.driver.search.trial_source import TrialSource
from pipeline.driver.search.unseen import begin_anew, check_ledger_of_unseen
from pipeline.driver.search.watcher import Watcher
from pipeline.driver.tracking import Tracker
from pipeline.fronts.front import Front, load_front
from pipeline.study.halving import Halving
from pipeline.study.ledger import Lease, Ledger, open_ledger
from pipeline.study.records import StudySpec
from pipeline.study.store import Asked
from pipeline.study.whole_file import make_folder
from pipeline.trial.inputs import TrialInputs, inputs_of_study
from pipeline.trial.training.process import free_memory_mb, mps_runs

LEARNED_NOTHING = (
    "The dense network is no better than a constant prediction: it has nothing that a cut could cost, and hypervolume "
    "has no value in %. Look at the task's columns and labels, and at learning_rate and tune_epochs of the space."
)

Pack = Callable[[], Packing]  # how many trials run at once, by the memory that trials have needed so far


def run(request: Search, watcher: Watcher, *, cluster: Cluster | None = None) -> Front:
    """Run a study, or go on with it, and return its front.

    Args:
        request: the study.
        watcher: is called as it proceeds.
        cluster: Ray, where it is open already, with the request's resources; it stays open.

    Raises:
        BadInput: the request cannot be carried out; nothing has been written.
        LedgerLost, LeaseLost, ObjectStoreLost: it cannot go on; what was found is kept, the same call goes on with it.
    """
    resolved = resolve(request, watcher)
    watcher = reporting(watcher, request.also)
    store, model_type = resolved.store, str(resolved.inputs.source.config["model_type"])
    for remark in resolved.data.remarks:
        watcher.warn(remark)
    with ExitStack() as stack:
        stack.enter_context(resolved.ledger_errors())
        spec = lease = tracker = None
        if resolved.anchors is None:
            check_ledger_of_unseen(resolved)
        if resolved.anchors is not None:
            # another study of this name, or driver, is refused before anything is started
            spec = make_spec(resolved, resolved.anchors)
            ledger = _open_ledger(resolved, spec)
            lease = stack.enter_context(resolved.hold(watcher))
            ledger.check_store(store)
        if request.tracking or os.environ.get("MLFLOW_TRACKING_URI"):  # before all work: it may not answer
            tracker = reach_tracking(resolved, watcher)
        if request.address is None and (address := os.environ.get("RAY_ADDRESS")):
            watcher.warn(
                f"RAY_ADDRESS is {address}: this search runs apart from it, on this machine. --address joins a cluster."
            )
        if cluster is None:
            if request.address is None:
                check_on(request, cluster_of_this_machine(request.resources), model_type)
                if is_open():
                    watcher.warn(OPEN)
            watcher.stage("starting Ray")
            shared = resolved.inputs.source.nbytes
            cluster = stack.enter_context(connect(request.resources, shared_bytes=shared))
        inputs = replace(resolved.inputs, device=cluster.device, cards=cluster.cards)
        resolved = replace(resolved, inputs=inputs)
        check_on(request, cluster, model_type)
        check_shared(request, store)
        if lease is None:
            make_folder(store.root)
            lease = stack.enter_context(resolved.hold(watcher))
        stack.enter_context(store.retrying(watcher.warn))
        _run_study(resolved, spec, cluster, lease, watcher, tracker)
    return load_front(resolved.name, store=store.root)


def _run_study(
    resolved: ResolvedSearch,
    spec: StudySpec | None,
    cluster: Cluster,
    lease: Lease,
    watcher: Watcher,
    tracker: Tracker | None,
) -> None:
    """Freeze the study if it is new (`spec` is None), and run the trials that are owed."""
    dense = beside = None
    is_new = spec is None
    if spec is None and trains_beside(resolved, cluster):
        spec = pending_spec(resolved)
    elif spec is None:
        anchors, dense = find_anchors(resolved, cluster, watcher)
        spec = make_spec(resolved, anchors)
    ledger = _open_ledger(resolved, spec, lease)
    ledger.check()
    if is_new:
        begin_anew(resolved.study, ledger)
    pack_trials = _pack(resolved, cluster)
    packing = pack_trials()
    if not spec.anchors.known:
        beside = DenseBeside(resolved, packing.cluster, ledger, watcher, later=lambda: pack_trials().cluster)
    open_study(resolved, spec, dense=dense, may_write=ledger.check)
    write_teacher_of(resolved, packing.cluster, watcher, may_write=ledger.check)
    queue = _make_queue(resolved, spec, ledger, packing.cluster, lease, watcher, tracker, beside)
    try:
        _run_trials(resolved, spec, packing, pack_trials, queue, watcher)
    finally:
        queue.close()


def _open_ledger(resolved: ResolvedSearch, spec: StudySpec, lease: Lease | None = None) -> Ledger:
    return open_ledger(
        resolved.ledger_url,
        spec,
        resolved.space,
        trials=resolved.request.trials,
        lease=lease,
    )


def _pack(resolved: ResolvedSearch, cluster: Cluster) -> Pack:
    """Return what decides how many trials run at once; the memory that is free now counts."""
    request, store = resolved.request, resolved.store
    here = request.address is None
    free_mb, mps = (free_memory_mb(), mps_runs()) if here else (None, None)
    dense_peak = find_peak(store, resolved.task, resolved.inputs)

    def pack_trials() -> Packing:
        peak = peak_of_trials(store, resolved.name, dense_peak)
        peak = None if peak is None else peak.of_stack(request.stack)
        return pack(request.resources, cluster, peak, free_mb=free_mb, mps=mps)

    return pack_trials


def _make_queue(
    resolved: ResolvedSearch,
    spec: StudySpec,
    ledger: Ledger,
    cluster: Cluster,
    lease: Lease,
    watcher: Watcher,
    tracker: Tracker | None,
    beside: DenseBeside | None,
) -> StudyQueue:
    """Return the study's queue. Its publisher starts when the spec is whole."""
    request, store = resolved.request, resolved.store
    publisher = publisher_of(resolved, spec, lease)

    def begin(spec: StudySpec) -> None:
        publisher.start(tracker, spec=spec)
        watcher.anchors(spec)
        if spec.anchors.dense <= spec.anchors.constant:
            watcher.warn(LEARNED_NOTHING)

    if beside is None:
        begin(spec)
    meter = Meter(store, spec.name, gpus_per_trial=cluster.gpus_per_trial, may_write=ledger.check)
    return StudyQueue(
        TrialSource(ledger, request.budget, meter, warn=watcher.warn),
        StudyResults(spec, store, keep_all_weights=request.keep_weights == ALL, may_write=ledger.check),
        publisher=publisher,
        watcher=watcher,
        halving=Halving(spec.values, spec.reference_point) if request.scheduler == "asha" else None,
        dense=beside,
        begin=begin,
        slots=cluster.concurrent,
    )


def _run_trials(
    resolved: ResolvedSearch,
    spec: StudySpec,
    packing: Packing,
    pack_trials: Pack,
    queue: StudyQueue,
    watcher: Watcher,
) -> None:
    """Run all trials that are owed, after the table of latencies and before the front's latencies."""
    store, shapes, source = resolved.store, resolved.shapes, resolved.inputs.source
    cluster, may_write = packing.cluster, queue.source.ledger.check
    queue.settle()
    if queue.has_work():
        table = None
        if shapes:
            table = find_table(cluster, store, spec, source, shapes[0], watcher, may_write=may_write)
        may_write()
        inputs = inputs_of_study(resolved.inputs, resolved.study, latency=table)
        first, at_once = alone(packing), None
        if first is not None and cluster.gpus == 1:
            at_once = grows(cluster, pack_trials)
        elif first is not None:
            watcher.stage("running the first trial of each GPU alone, to see what it needs")
            queue.meter.gpus_per_trial = first.gpus_per_trial
            _run_queue(resolved, first, inputs, queue, limit=first.concurrent)
            packing = pack_trials()
            queue.meter.gpus_per_trial = packing.cluster.gpus_per_trial
        if queue.has_work():
            beside = "" if queue.dense is None else ", and training the dense network beside them"
            watcher.stage(f"running trials, {packing.reason}{beside}")
            _run_queue(resolved, packing.cluster, inputs, queue, at_once=at_once)
    queue.await_dense()
    if shapes:
        time_networks(cluster, store, spec, source, shapes, watcher, may_write=may_write)
    may_write()
    resolved.study.asked.write(Asked(resolved.request.trials, done=True))


def _run_queue(
    resolved: ResolvedSearch,
    cluster: Cluster,
    inputs: TrialInputs,
    queue: StudyQueue,
    *,
    limit: int | None = None,
    at_once: Callable[[], int] | None = None,
) -> None:
    run_trials(
        cluster,
        inputs,
        store=resolved.store,
        study=resolved.name,
        queue=queue,
        checkpoint_s=resolved.request.checkpoint_seconds,
        limit=limit,
        at_once=at_once if queue.dense is None else queue.dense.at_once,
        stack=resolved.request.stack if limit is None else 1,
    )
