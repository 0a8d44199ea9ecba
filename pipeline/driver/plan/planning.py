"""A search's price: the task and the model are read, then an earlier study, or else a probe is run."""

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
from pipeline.driver.plan.pricing import Ahead, Basis, Cost, Number, Price, Trials, price
from pipeline.driver.plan.probe import probe
from pipeline.driver.plan.sampled_costs import drawn_trials, epochs_of, mean, most_rounds, random_draws
from pipeline.driver.search.check import check
from pipeline.driver.search.dense import dense_recipe, find_peak
from pipeline.driver.search.inputs import make_inputs, read_task
from pipeline.driver.search.latency import shapes_of
from pipeline.driver.search.names import study_name
from pipeline.driver.search.request import ALL, Search
from pipeline.driver.search.watcher import Watcher
from pipeline.model.resolve import check_model
from pipeline.study.records import Params
from pipeline.study.space import Space
from pipeline.study.store import Store
from pipeline.task.loading import Task
from pipeline.trial.anchors import DenseRecipe, dense_folder, read_dense
from pipeline.trial.distillation import NONE
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.latency import TABLE_SECONDS
from pipeline.trial.training.phases import steps_per_epoch
from pipeline.trial.training.process import free_memory_mb

PROBES = 4  # at once, at most: as many as there will be trials at once, so that they meet each other
WORKER_START_S = 10.0  # until a worker has imported torch, where it was not measured: versions of the lock
NETWORK_S = 1.0  # that timing one network of the front takes: its rounds, twice 0.05 s each
FRONT_NETWORKS = 20  # about as many stand on a front of some trials
FRONT_PER_TRIAL = 3


def plan(wanted: Search, watcher: Watcher) -> Price:
    """Prices a search; nothing is left in its store.

    Raises:
        BadInput: what the search itself would refuse.
    """
    space = check(wanted).space
    check_model(wanted.model)
    with TemporaryDirectory(prefix="prunefront-plan-") as scratch:
        task, name, inputs = _read(wanted, watcher, cache=Store(Path(scratch)).cache)
        shapes = shapes_of(wanted.latency_grid, length=inputs.length, max_length=inputs.source.max_length)
        timed = bool(shapes)
        store = Store(wanted.store)
        dense = _dense_to_train(store, task, inputs, method=wanted.method)
        earlier = find_earlier(
            store,
            task_fingerprint=task.fingerprint,
            model_fingerprint=inputs.source.fingerprint,
            method=wanted.method,
            distill=wanted.distill,
            space_toml=space.toml,
        )
        with _cluster(wanted, inputs, watcher, must=earlier is None) as (cluster, opening):
            if earlier is not None:
                gpu = cluster.gpus_per_trial > 0
                basis = _from_earlier(earlier, space, inputs, dense, timed=timed, gpu=gpu)
            else:
                basis = _from_probe(
                    cluster, wanted, space, inputs, dense, opening, timed=timed, watcher=watcher
                )
    if wanted.keep_weights == ALL:
        one_mb = basis.front_mb.low if earlier is None else earlier.dense_mb
        basis = replace(basis, front_mb=_all_weights(one_mb, wanted, space, source=basis.source))
    packed = _packed(wanted, cluster, basis, find_peak(store, task, inputs))
    return price(
        basis,
        name=name,
        slots=packed.concurrent,
        gpus=packed.gpus_per_trial,
        budget=wanted.budget,
    )


def _read(wanted: Search, watcher: Watcher, *, cache: Path) -> tuple[Task, str, TrialInputs]:
    """Read the search's task and model, and name its study; what is cached goes to a folder that is given up."""
    watcher.stage("reading the task")
    task = read_task(wanted, cache=cache)
    name = study_name(wanted, task)
    watcher.stage("reading the model")
    # A probe has no dense network to learn from; what that says of the rows is looked up, which costs little.
    return task, name, make_inputs(replace(wanted, distill=NONE), task, study=name, cache=cache)


def _dense_to_train(store: Store, task: Task, inputs: TrialInputs, *, method: str) -> DenseRecipe | None:
    """How the dense network will be trained; None if the store has it."""
    recipe = dense_recipe(method, pretrained=inputs.source.pretrained)
    folder = dense_folder(
        store.cache,
        task_fingerprint=task.fingerprint,
        model_fingerprint=inputs.source.fingerprint,
        recipe=recipe,
    )
    return recipe if read_dense(folder) is None else None


def _packed(wanted: Search, cluster: Cluster, basis: Basis, peak: Peak | None) -> Cluster:
    """As many trials at once as the search will run: by the dense network's memory, or else by a trial's."""
    if peak is None and basis.memory_mb is not None:
        peak = Peak.of_trial(basis.memory_mb.typical)
    free_mb = free_memory_mb() if wanted.resources.address is None else None
    return pack(wanted.resources, cluster, peak, free_mb=free_mb).cluster


@contextmanager
def _cluster(
    wanted: Search, inputs: TrialInputs, watcher: Watcher, *, must: bool
) -> Iterator[tuple[Cluster, float]]:
    """What trials run on, and how long it took to be there; Ray is not started where nothing is to be run."""
    if not must and wanted.resources.address is None:
        yield cluster_of_this_machine(wanted.resources), 0.0
        return
    watcher.stage("starting Ray")
    started = time.monotonic()
    shared_bytes = sum(array.nbytes for array in inputs.source.weights.values())
    with connect(wanted.resources, shared_bytes=shared_bytes) as cluster:
        yield cluster, time.monotonic() - started


def _from_probe(
    cluster: Cluster,
    wanted: Search,
    space: Space,
    inputs: TrialInputs,
    dense: DenseRecipe | None,
    opening: float,
    *,
    timed: bool,
    watcher: Watcher,
) -> Basis:
    """As many short trials at once as trials will run at once, up to PROBES."""
    count = min(cluster.concurrent, PROBES, wanted.trials)
    jobs: list[tuple[Params, int]] = [(space.defaults(), wanted.seed + place) for place in range(count)]
    watcher.stage(f"probing a short trial in {len(jobs)} worker{'s' * (len(jobs) > 1)}")
    started = time.monotonic()
    found = run_each(cluster, probe, inputs, jobs, done=lambda: None)
    opening += max(0.0, time.monotonic() - started - max(each.seconds for each in found))
    rows = len(inputs.data.train)
    ahead = _ahead(
        dense, rows, seconds_per_step=mean([t for each in found for t in each.plain]),
        batch_size=found[0].batch_size, opening=opening, timed=timed, trials=wanted.trials,
    )  # fmt: skip
    weights = float(np.mean([each.weights_mb for each in found]))
    most = wanted.trials * (1 + most_rounds(space))
    gpu = [each.gpu_memory_mb for each in found if each.gpu_memory_mb is not None]
    return Basis(
        source="probe",
        trials=drawn_trials(space, inputs, found, stops=wanted.scheduler == "asha", seed=wanted.seed),
        ahead=ahead,
        memory_mb=Number.of([each.memory_mb for each in found], "MB", "probe"),
        gpu_memory_mb=Number.of(gpu, "MB", "probe") if gpu else None,
        checkpoint_mb=max(each.checkpoint_mb for each in found),
        # one file serves a whole curve; a trial has one before each cut and one at its end
        front_mb=Number(weights * min(wanted.trials, 4), weights, weights * most, "MB", "probe"),
    )


def _all_weights(one_mb: float, wanted: Search, space: Space, *, source: str) -> Number:
    """Weights of all trials: one file before each cut, and one at the end of a trial that recovers."""
    files = wanted.trials * (1 + most_rounds(space))
    return Number(one_mb * files, one_mb * wanted.trials, one_mb * files, "MB", source)


def _from_earlier(
    earlier: Earlier, space: Space, inputs: TrialInputs, dense: DenseRecipe | None, *, timed: bool, gpu: bool
) -> Basis:
    """Its trials again; in another space, its seconds per epoch for that space's epochs."""
    rows = len(inputs.data.train)
    per_epoch = earlier.seconds_per_epoch
    ahead = Ahead(
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
        ahead=ahead,
        memory_mb=earlier.memory(gpu=False),
        gpu_memory_mb=earlier.memory(gpu=True) if gpu else None,
        checkpoint_mb=(1 + MOMENTS) * earlier.dense_mb,
        front_mb=Number.exactly(earlier.weights_mb, "MB", earlier.study),
    )


def _ahead(
    dense: DenseRecipe | None,
    rows: int,
    *,
    seconds_per_step: float,
    batch_size: int,
    opening: float,
    timed: bool,
    trials: int,
) -> Ahead:
    each = 0.0
    if dense is not None:
        steps = dense.epochs * steps_per_epoch(rows, dense.batch_size)
        each = steps * seconds_per_step * dense.batch_size / batch_size
    networks = min(FRONT_NETWORKS, FRONT_PER_TRIAL * trials)
    return Ahead(
        dense=() if dense is None else (each,) * len(dense.learning_rates),
        dense_epochs=0.0 if dense is None else dense.epochs * len(dense.learning_rates),
        opening=opening + (WORKER_START_S + TABLE_SECONDS if timed else 0.0),
        closing=NETWORK_S * networks if timed else 0.0,
    )
