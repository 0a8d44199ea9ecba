"""Price a search: read the task and the model, then an earlier study; if there is none, run a probe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.driver.execute import Cluster, Peak, cluster_of_this_machine, connect, pack, run_each
from pipeline.driver.plan.earlier import MOMENTS, Earlier, find_earlier
from pipeline.driver.plan.pricing import Basis, Cost, Number, Overhead, Price, Trials, price
from pipeline.driver.plan.probe import probe
from pipeline.driver.plan.sampled_costs import drawn_trials, epochs_of, mean, most_rounds, random_draws
from pipeline.driver.search.check import check, space_of
from pipeline.driver.search.dense import dense_recipe, find_peak
from pipeline.driver.search.inputs import make_inputs, read_task
from pipeline.driver.search.latency import shapes_of
from pipeline.driver.search.names import study_name
from pipeline.driver.search.own import starts_from_own
from pipeline.driver.search.request import ALL, Search
from pipeline.driver.search.watcher import Watcher
from pipeline.model.resolve import check_model
from pipeline.study.records import Params, StudySpec
from pipeline.study.space import Space
from pipeline.study.store import Store
from pipeline.task.loading import Task
from pipeline.trial.anchors import DenseRecipe, dense_folder, read_dense
from pipeline.trial.distillation import NONE
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.latency import TABLE_SECONDS
from pipeline.trial.training.phases import steps_per_epoch
from pipeline.trial.training.process import free_memory_mb

PROBES = 4  # at once, at most: as many as trials will run at once, so that they share the machine alike
WORKER_START_S = 10.0  # until a worker has imported torch, where it was not measured: versions of the lock
NETWORK_S = 1.0  # to time one network of the front: its rounds, twice 0.05 s each
FRONT_NETWORKS = 20  # a typical number on the front of some trials
FRONT_PER_TRIAL = 3


def plan(request: Search, watcher: Watcher) -> Price:
    """Price a search; nothing is written to its store.

    Raises:
        BadInput: the search itself would refuse the request.
    """
    space = check(request).space
    check_model(request.model)
    with TemporaryDirectory(prefix="prunefront-plan-") as scratch:
        task, name, inputs = _read(request, watcher, cache=Store(Path(scratch)).cache)
        shapes = shapes_of(request.latency_grid, length=inputs.length, max_length=inputs.source.max_length)
        timed = bool(shapes)
        store = Store(request.store)
        dense = None
        if starts_from_own(request, inputs.source, begun=_begun(store, name)):
            space = space_of(request, own=True)
        else:
            dense = _dense_to_train(store, task, inputs, method=request.method)
        earlier = find_earlier(
            store,
            task_fingerprint=task.fingerprint,
            model_fingerprint=inputs.source.fingerprint,
            method=request.method,
            distill=request.distill,
            space_toml=space.toml,
        )
        with _cluster(request, inputs, watcher, must=earlier is None) as (cluster, opening):
            if earlier is not None:
                gpu = cluster.gpus_per_trial > 0
                basis = _from_earlier(earlier, space, inputs, dense, timed=timed, gpu=gpu)
            else:
                basis = _from_probe(
                    cluster, request, space, inputs, dense, opening, timed=timed, watcher=watcher
                )
    if request.keep_weights == ALL:
        one_mb = basis.front_mb.low if earlier is None else earlier.dense_mb
        basis = replace(basis, front_mb=_all_weights(one_mb, request, space, source=basis.source))
    packed = _packed(request, cluster, basis, find_peak(store, task, inputs))
    return price(
        basis,
        name=name,
        slots=packed.concurrent,
        gpus=packed.gpus_per_trial,
        budget=request.budget,
    )


def _read(request: Search, watcher: Watcher, *, cache: Path) -> tuple[Task, str, TrialInputs]:
    """Read the search's task and model, and name its study; what is cached goes to a temporary folder."""
    watcher.stage("reading the task")
    task = read_task(request, cache=cache)
    name = study_name(request, task)
    watcher.stage("reading the model")
    # A probe has no dense network to learn from; in a trial its outputs are looked up, which costs little.
    return task, name, make_inputs(replace(request, distill=NONE), task, study=name, cache=cache)


def _begun(store: Store, name: str) -> StudySpec | None:
    return store.study(name).read_spec() if store.study(name).exists() else None


def _dense_to_train(store: Store, task: Task, inputs: TrialInputs, *, method: str) -> DenseRecipe | None:
    """Return the recipe of the dense network; None if the store has it."""
    recipe = dense_recipe(method, inputs.source)
    folder = dense_folder(
        store.cache,
        task_fingerprint=task.fingerprint,
        model_fingerprint=inputs.source.fingerprint,
        recipe=recipe,
    )
    return recipe if read_dense(folder) is None else None


def _packed(request: Search, cluster: Cluster, basis: Basis, peak: Peak | None) -> Cluster:
    """Pack as many trials as the search will run at once: by the dense network's memory, or else by a trial's."""
    if peak is None and basis.memory_mb is not None:
        peak = Peak.of_trial(basis.memory_mb.typical)
    free_mb = free_memory_mb() if request.resources.address is None else None
    return pack(request.resources, cluster, peak, free_mb=free_mb).cluster


@contextmanager
def _cluster(
    request: Search, inputs: TrialInputs, watcher: Watcher, *, must: bool
) -> Iterator[tuple[Cluster, float]]:
    """Give the trials' cluster and the seconds of its start; Ray is not started if nothing has to run."""
    if not must and request.resources.address is None:
        yield cluster_of_this_machine(request.resources), 0.0
        return
    watcher.stage("starting Ray")
    started = time.monotonic()
    with connect(request.resources, shared_bytes=inputs.source.nbytes) as cluster:
        yield cluster, time.monotonic() - started


def _from_probe(
    cluster: Cluster,
    request: Search,
    space: Space,
    inputs: TrialInputs,
    dense: DenseRecipe | None,
    opening: float,
    *,
    timed: bool,
    watcher: Watcher,
) -> Basis:
    """Probe as many short trials as trials will run at once, up to PROBES."""
    count = min(cluster.concurrent, PROBES, request.trials)
    jobs: list[tuple[Params, int]] = [(space.defaults(), request.seed + place) for place in range(count)]
    watcher.stage(f"probing a short trial in {len(jobs)} worker{'s' * (len(jobs) > 1)}")
    started = time.monotonic()
    found = run_each(cluster, probe, replace(inputs, device=cluster.device), jobs, done=lambda: None)
    opening += max(0.0, time.monotonic() - started - max(each.seconds for each in found))
    rows = len(inputs.data.train)
    overhead = _overhead(
        dense, rows, seconds_per_step=mean([t for each in found for t in each.plain]),
        batch_size=found[0].batch_size, opening=opening, timed=timed, trials=request.trials,
    )  # fmt: skip
    weights = float(np.mean([each.weights_mb for each in found]))
    most = request.trials * (1 + most_rounds(space))
    gpu = [each.gpu_memory_mb for each in found if each.gpu_memory_mb is not None]
    return Basis(
        source="probe",
        trials=drawn_trials(space, inputs, found, stops=request.scheduler == "asha", seed=request.seed),
        overhead=overhead,
        memory_mb=Number.of([each.memory_mb for each in found], "MB", "probe"),
        gpu_memory_mb=Number.of(gpu, "MB", "probe") if gpu else None,
        checkpoint_mb=max(each.checkpoint_mb for each in found),
        # one file serves a whole curve; a trial writes one before each cut and one at its end
        front_mb=Number(weights * min(request.trials, 4), weights, weights * most, "MB", "probe"),
    )


def _all_weights(one_mb: float, request: Search, space: Space, *, source: str) -> Number:
    """Price the weights of all trials: one file before each cut, and one at the end of a trial that recovers."""
    files = request.trials * (1 + most_rounds(space))
    return Number(one_mb * files, one_mb * request.trials, one_mb * files, "MB", source)


def _from_earlier(
    earlier: Earlier, space: Space, inputs: TrialInputs, dense: DenseRecipe | None, *, timed: bool, gpu: bool
) -> Basis:
    """Take the earlier trials as they were; for another space, its epochs at their seconds per epoch."""
    rows = len(inputs.data.train)
    per_epoch = earlier.seconds_per_epoch
    overhead = Overhead(
        dense=() if dense is None else tuple(dense.epochs * per_epoch for _ in dense.learning_rates),
        dense_epochs=0.0 if dense is None else dense.epochs * len(dense.learning_rates),
        opening=WORKER_START_S + (earlier.table_seconds if timed else 0.0),
        closing=NETWORK_S * FRONT_NETWORKS if timed else 0.0,
    )
    trials: Trials = earlier.draws
    if space.toml != earlier.space_toml:
        trials = replace(
            earlier,
            trials=tuple(
                Cost(epochs, epochs * per_epoch)
                for epochs in (epochs_of(p, rows) for p in (*space.starts(), *random_draws(space, 0)))
            ),
        ).draws
    return Basis(
        source=earlier.study,
        trials=trials,
        overhead=overhead,
        memory_mb=earlier.memory(gpu=False),
        gpu_memory_mb=earlier.memory(gpu=True) if gpu else None,
        checkpoint_mb=(1 + MOMENTS) * earlier.dense_mb,
        front_mb=Number.exactly(earlier.weights_mb, "MB", earlier.study),
    )


def _overhead(
    dense: DenseRecipe | None,
    rows: int,
    *,
    seconds_per_step: float,
    batch_size: int,
    opening: float,
    timed: bool,
    trials: int,
) -> Overhead:
    each = 0.0
    if dense is not None:
        steps = dense.epochs * steps_per_epoch(rows, dense.batch_size)
        each = steps * seconds_per_step * dense.batch_size / batch_size
    networks = min(FRONT_NETWORKS, FRONT_PER_TRIAL * trials)
    return Overhead(
        dense=() if dense is None else (each,) * len(dense.learning_rates),
        dense_epochs=0.0 if dense is None else dense.epochs * len(dense.learning_rates),
        opening=opening + (WORKER_START_S + TABLE_SECONDS if timed else 0.0),
        closing=NETWORK_S * networks if timed else 0.0,
    )
