"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run.

    task ─► rows ─┐
    model ────────┼─► anchors ─► StudySpec, frozen ─► ledger ⇄ trials on Ray ─► store, MLflow ─► front
    space ────────┘

The driver is the only one that writes to the ledger and to MLflow. Everything a person gives is checked before
anything is written.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.delivery import Courier
from pipeline.distillation import DISTILLATIONS, NONE
from pipeline.execute import (
    Resources,
    check_resources,
    connect,
    pack,
    run_trials,
)
from pipeline.fronts import DEFAULT_STORE, Front, load_front
from pipeline.halving import Halving
from pipeline.methods import METHODS, in_one_round
from pipeline.process import free_memory_mb
from pipeline.records import BadInput, Params
from pipeline.reopening import refer, with_dense
from pipeline.resolve import BUILTIN, check_model
from pipeline.space import Space, load_space
from pipeline.store import Store
from pipeline.study import check_sampler, hold, open_ledger
from pipeline.sweep.budget import Meter
from pipeline.sweep.desk import StudyDesk
from pipeline.sweep.preparing import (
    check_method,
    default_name,
    find_anchors,
    find_peak,
    find_starts,
    find_teacher,
    make_inputs,
    make_spec,
    objective_of,
    open_study,
    timed_shapes,
)
from pipeline.sweep.sharing import check_ledger, check_objects, check_shared
from pipeline.sweep.speed import check_grid, find_table, time_networks
from pipeline.sweep.wanted import (
    DEFAULT_CHECKPOINT_S,
    DEFAULT_SCHEDULER,
    DEFAULT_TASK,
    DEFAULT_TRIALS,
    PRECISIONS,
    SCHEDULERS,
    STARTS,
    Search,
)
from pipeline.sweep.watching import Nobody, Watcher
from pipeline.task import load_task
from pipeline.tracking import NoAnswer, Tracker, address_of, open_tracking, shown


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
    )
    return run(wanted, watcher or Nobody())


def run(wanted: Search, watcher: Watcher) -> Front:
    """Runs a study, or goes on with it, and returns its front.

    Raises:
        BadInput: what was asked cannot be done; nothing has been written.
        LedgerLost, LeaseLost, ObjectStoreLost: it cannot go on; what was found is kept, the same call goes on with it.
    """
    space = check(wanted)
    store = Store(wanted.store)
    store.check_writable()
    check_model(wanted.model)
    check_method(wanted, store)
    starts = find_starts(wanted, store, space)
    watcher.stage("reading the task")
    task = load_task(
        wanted.task, cache=store.cache, text=wanted.text, label=wanted.label, metric=wanted.metric
    )
    watcher.stage("reading the model")
    inputs = make_inputs(wanted, task)
    shapes = timed_shapes(wanted, inputs)
    name = wanted.name or default_name(wanted, task)
    known = None
    if store.has_study(name):  # it keeps the starts that it began with
        known, starts = store.read_spec(name).anchors, store.read_spec(name).starts
    url = wanted.ledger or f"sqlite:///{store.studies_db}"
    with ExitStack() as stack:
        lease = None
        if known is not None:  # another study of this name, or driver, is refused before anything is started
            spec = make_spec(wanted, task, inputs, space, known, starts=starts)
            ledger = open_ledger(url, spec, space, trials=wanted.trials)
            lease = stack.enter_context(hold(url, name, take_over=wanted.take_over))
            ledger.check_store(store)
        tracker = None
        if wanted.tracking or os.environ.get("MLFLOW_TRACKING_URI"):  # looked for first: it may not answer
            tracker = _reach(wanted, store, watcher, must=known is None)
        watcher.stage("starting Ray")
        shared_bytes = sum(array.nbytes for array in inputs.source.weights.values())
        cluster = stack.enter_context(connect(wanted.resources, shared_bytes=shared_bytes))
        check_gpu_hours(wanted, cluster.gpus_per_trial)
        check_shared(wanted, store)
        if lease is None:
            store.root.mkdir(parents=True, exist_ok=True)
            lease = stack.enter_context(hold(url, name, take_over=wanted.take_over))
        stack.enter_context(store.patient(watcher.warn))
        anchors, dense = known, None
        if anchors is None:
            anchors, dense = find_anchors(cluster, store, task, inputs, watcher, method=wanted.method)
        peak = find_peak(store, task, inputs, method=wanted.method)
        free_mb = free_memory_mb() if wanted.resources.address is None else None
        packing = pack(wanted.resources, cluster, peak, free_mb=free_mb)
        cluster = packing.cluster
        spec = make_spec(wanted, task, inputs, space, anchors, starts=starts)
        ledger = open_ledger(url, spec, space, trials=wanted.trials, may_write=lease.check)
        reference = refer(wanted.task, text=wanted.text, label=wanted.label, metric=wanted.metric)
        needs_dense = space.may_have("start_dense", True) or spec.distill != NONE
        open_study(store, spec, inputs, reference, dense=dense if needs_dense else None)
        inputs = find_teacher(cluster, store, spec, with_dense(inputs, store, name), space, watcher)
        courier = Courier(
            spec,
            store=store,
            open_tracker=partial(open_tracking, wanted.tracking, store_root=store.root),
            may_write=lease.check,
            address=shown(address_of(wanted.tracking, store_root=store.root)),
        )
        courier.start(tracker)
        watcher.anchors(spec)
        desk = StudyDesk(
            spec,
            wanted.budget,
            store=store,
            ledger=ledger,
            courier=courier,
            watcher=watcher,
            meter=Meter(store, name, gpus_per_trial=cluster.gpus_per_trial),
            halving=Halving(spec.values, spec.reference_point) if wanted.scheduler == "asha" else None,
        )
        try:
            desk.settle()
            if desk.has_work():
                if shapes:
                    table = find_table(cluster, store, spec, inputs.source, shapes[0], watcher)
                    inputs = replace(inputs, latency=table)
                watcher.stage(f"running trials, {packing.reason}")
                run_trials(
                    cluster,
                    inputs,
                    store=store,
                    study=name,
                    desk=desk,
                    checkpoint_s=wanted.checkpoint_seconds,
                )
            if shapes:
                time_networks(cluster, store, spec, inputs.source, shapes, watcher)
        finally:
            desk.close()
    return load_front(name, store=store.root)


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


def check(wanted: Search) -> Space:
    """Refuses what can be refused without reading data; returns the space.

    Raises:
        BadInput: with the first thing that is wrong.
    """
    if wanted.method not in METHODS:
        raise BadInput(
            f"A search runs one of the methods {', '.join(METHODS)}; asked for was {wanted.method!r}."
        )
    check_grid(wanted.latency_grid, objective=objective_of(wanted))
    wanted.budget.check()
    check_gpu_hours(wanted, wanted.resources.gpus_per_trial)
    if wanted.precision not in PRECISIONS:
        raise BadInput(f"--precision is one of {', '.join(PRECISIONS)}; asked for was {wanted.precision!r}.")
    if wanted.scheduler not in SCHEDULERS:
        raise BadInput(f"--scheduler is one of {', '.join(SCHEDULERS)}; asked for was {wanted.scheduler!r}.")
    if wanted.checkpoint_seconds <= 0:
        raise BadInput(
            f"A trial is written down now and then; --checkpoint-seconds is {wanted.checkpoint_seconds:g}. "
            "Give a number above 0."
        )
    check_sampler(wanted.sampler)
    check_resources(wanted.resources)
    check_objects(wanted)
    check_ledger(wanted)
    if wanted.start not in (None, *STARTS):
        raise BadInput(f"--start is one of {', '.join(STARTS)}; asked for was {wanted.start!r}.")
    if wanted.distill not in (NONE, *DISTILLATIONS):
        raise BadInput(
            f"--distill is one of {', '.join((NONE, *DISTILLATIONS))}; asked for was {wanted.distill!r}."
        )
    fixed: Params = {} if wanted.start is None else {"start_dense": wanted.start == "dense"}
    pretrained = wanted.model != BUILTIN
    space = load_space(
        wanted.method, file=wanted.space, pretrained=pretrained, fixed=fixed, distill=wanted.distill
    )
    if not pretrained and space.may_have("cap_pretrained", True):
        raise BadInput(
            f"cap_pretrained contrasts with the pretrained model; {wanted.model} has no pretrained weights. Leave it "
            "false."
        )
    if in_one_round(wanted.method) and not (space.keys["rounds"].fixed and space.may_have("rounds", 1)):
        raise BadInput(
            f"A method that sets weights to zero as it trains fills the tuning with its own schedule, in one round; "
            f"{wanted.method} is such a method, {wanted.space} has [rounds]. Take that key out of the file."
        )
    return space


def check_gpu_hours(wanted: Search, gpus_per_trial: float | None) -> None:
    """Refuses a budget of GPUs for trials that have none; None: that is not known yet.

    Raises:
        BadInput: they run on CPUs.
    """
    if wanted.gpu_hours is not None and gpus_per_trial == 0:
        raise BadInput(
            "--gpu-hours is a budget of GPUs; these trials run on CPUs. Give --minutes instead, or --gpus-per-trial."
        )
