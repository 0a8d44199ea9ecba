"""A connection to Ray, on this machine or to a running cluster, and one trial's share of it."""

from __future__ import annotations

import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.driver.execute import imported
from pipeline.driver.execute.private import keep_token
from pipeline.driver.execute.start import ray_at, ray_here
from pipeline.model.device import CPU, CUDA
from pipeline.study.records import BadInput
from pipeline.trial.training.process import free_memory_mb, usable_cores

# Read by Ray when it is imported: no calls home, no files per trial, no second progress display, and Ctrl-C
# reaches us instead of Tune (which would write a snapshot that is never read).
RAY_ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # workers have their parent's priority; Ray's default starves them beside other work
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the queue reports a lost trial in one line, without a stack
}
# Of workers: one heap per process, whose freed memory the next trial reuses. Each trial runs in its own thread, and
# with glibc's many heaps (8 a core) each of them may keep a trial's memory (1 GB for MiniLM) until none is left.
# Then: a process with no GPU of its own sees none (Ray 2.60 shows it all); batches of many lengths do not fragment a
# GPU's memory.
WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}
# What trials import takes a process five seconds: Ray's processes of this machine do it while the search is prepared,
# where trials will need them all and there is memory for it.
PRELOADED, PRELOADED_MB = ("ray.tune", "pipeline.trial.trial", "transformers.modeling_utils"), 1_000.0
# Ray ends processes that are idle for a second while a timing has all cores; the first trials are given these.
IDLE_MS = 120_000
# This machine's memory for the object store: the trials' shared inputs, and the dense networks' results. Ray's own
# default is 30 % of all memory.
LEAST_STORE_BYTES = 300_000_000
STORE_COPIES = 5
ROOM_S = 2.0  # between two queries of the cluster's resources
NODES_JOIN_S = 30.0  # for the nodes of a cluster that has just been started


@dataclass(frozen=True)
class Resources:
    """The requested resources. None: as many as the machine or cluster has."""

    address: str | None = None
    concurrent: int | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray, and one trial's share of it."""

    concurrent: int
    cpus_per_trial: float
    gpus_per_trial: float
    cpus: float = 1.0  # of all its nodes
    gpus: float = 0.0
    grows: bool = False  # nodes may join and leave: the number of concurrent trials follows
    marks: Path | None = None  # where its processes leave marks when they have imported what trials need

    @property
    def device(self) -> str:
        """The device of its trials, as `device_of` reads it: without a GPU the CPU, whatever a trial sees."""
        return CUDA if self.gpus_per_trial else CPU

    @property
    def cards(self) -> int:
        """The processes of a trial: one, or one for each of its GPUs."""
        return max(1, int(self.gpus_per_trial))


def check_resources(resources: Resources) -> None:
    """Refuse resources that can be refused without Ray.

    Raises:
        BadInput: numbers that make no sense, or a GPU where there is none.
    """
    if resources.concurrent is not None and resources.concurrent <= 0:
        raise BadInput(f"--concurrent is {resources.concurrent}. At least one trial runs at a time.")
    if resources.cpus_per_trial <= 0:
        raise BadInput(f"--cpus-per-trial is {resources.cpus_per_trial:g}; a trial needs more than 0.")
    gpus = resources.gpus_per_trial
    if gpus is not None and gpus < 0:
        raise BadInput(f"--gpus-per-trial is {gpus:g}. A trial takes 0 GPUs, a part of one, or some.")
    if gpus and resources.address is None:
        import torch

        if torch.cuda.device_count() < gpus:
            raise _no_gpu(gpus, torch.cuda.device_count())


def _no_gpu(requested: float, available: float) -> BadInput:
    return BadInput(
        f"--gpus-per-trial is {requested:g}, and there are {available:g}. A trial gets the GPUs that "
        "it requests. Leave it out to run on CPUs, or join a cluster with GPUs by --address."
    )


@contextmanager
def connect(resources: Resources, *, shared_bytes: int) -> Iterator[Cluster]:
    """Start Ray on this machine, or join the cluster at `address`; leave it at the end.

    Args:
        resources: as requested.
        shared_bytes: approximate size of the trials' shared inputs, weights and rows.

    Raises:
        BadInput: no cluster answers, or it has less than one trial requires.
        RayNotStarted: Ray does not start on this machine.
    """
    ours = RAY_ENVIRONMENT | WORKER_ENVIRONMENT  # workers on this machine inherit the driver's
    os.environ |= {key: os.environ.get(key, value) for key, value in ours.items()}
    from ray._private import utils, worker

    # Ray prints the raylets' messages about dead workers on stdout, whatever log_to_driver is; the queue warns itself
    worker.print_to_stdstream = lambda *_args, **_kwargs: None
    handlers = _signal_handlers()
    if signal.SIGTERM in handlers:
        # while it starts, Ray would leave without a word; what it has started ends when this process does
        utils.set_sigterm_handler = lambda _handler: None
    marks: Path | None = None
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": True}
    with ExitStack() as stack:
        if resources.address is None:
            modules = preloaded(resources)
            marks = stack.enter_context(_marks()) if modules else None
            keep_token()
            running = ray_here(
                num_cpus=cores_of_ray(resources),
                include_dashboard=False,
                object_store_memory=LEAST_STORE_BYTES + STORE_COPIES * shared_bytes,
                _system_config=_importing(modules) if modules else {},
                **quiet,
            )
        else:
            running = ray_at(resources.address, runtime_env={"env_vars": dict(WORKER_ENVIRONMENT)}, **quiet)
        stack.enter_context(running)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield replace(_wait_for_share(resources), marks=marks)


def _importing(modules: tuple[str, ...]) -> dict[str, Any]:
    """Return Ray's settings for processes that import modules at their start, and are there when a trial needs one."""
    return {
        "preload_python_modules": [*modules, imported.__name__],
        "idle_worker_killing_time_threshold_ms": IDLE_MS,
    }


@contextmanager
def _marks() -> Iterator[Path]:
    """Yield a folder in which Ray's processes, which get its name by the environment, leave marks."""
    with tempfile.TemporaryDirectory(prefix="prunefront-", ignore_cleanup_errors=True) as folder:
        os.environ[imported.MARKS] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop(imported.MARKS, None)


def cores_of_ray(resources: Resources) -> int:
    """Return the number of cores that Ray is given here: this machine's, or as many more as were requested."""
    return max(usable_cores(), math.ceil((resources.concurrent or 1) * resources.cpus_per_trial))


def preloaded(resources: Resources) -> tuple[str, ...]:
    """Return the modules that Ray's processes of this machine import at once."""
    share, free_mb = cluster_of_this_machine(resources), free_memory_mb()
    needed = not share.gpus_per_trial and 2 * share.concurrent >= share.cpus
    roomy = free_mb is None or free_mb >= share.cpus * PRELOADED_MB
    return PRELOADED if needed and roomy else ()


def _signal_handlers() -> dict[int, Any]:
    """Return the handlers of signals that Ray would replace by one that leaves without cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    return {number: handler for number, handler in found.items() if callable(handler)}


def _wait_for_share(resources: Resources) -> Cluster:
    """Return a trial's share; wait a while for the nodes of a cluster to join."""
    import ray

    end = time.monotonic() + (NODES_JOIN_S if resources.address is not None else 0.0)
    while True:
        try:
            return _share(resources, ray.cluster_resources())  # type: ignore[no-untyped-call]
        except BadInput:
            if time.monotonic() >= end:
                raise
        time.sleep(0.5)


def _share(resources: Resources, total: dict[str, float]) -> Cluster:
    """Return how many trials fit at once; `total` are the cluster's resources."""
    cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0)
    per_trial = resources.gpus_per_trial
    if per_trial is None:
        per_trial = 1.0 if gpus else 0.0
    if per_trial > gpus:
        raise _no_gpu(per_trial, gpus)
    if resources.cpus_per_trial > cpus:
        raise BadInput(
            f"--cpus-per-trial is {resources.cpus_per_trial:g} and Ray has {cpus:g}. A trial gets the "
            "cores that it requests. Request fewer."
        )
    fit = _fitting(cpus, gpus, resources.cpus_per_trial, per_trial)
    return Cluster(
        resources.concurrent or fit,
        resources.cpus_per_trial,
        per_trial,
        cpus,
        gpus,
        grows=resources.address is not None and resources.concurrent is None,
    )


def _fitting(cpus: float, gpus: float, cpus_per_trial: float, gpus_per_trial: float) -> int:
    """Return the number of concurrent trials, 1 or more."""
    fit = min(cpus / cpus_per_trial, gpus / gpus_per_trial if gpus_per_trial else math.inf)
    return max(1, int(fit + 1e-9))


def room(cluster: Cluster) -> Callable[[], int]:
    """Return a function that gives the number of concurrent trials now; a growing cluster is queried every ROOM_S."""
    if not cluster.grows:
        return lambda: cluster.concurrent
    import ray

    queried, fit = -ROOM_S, cluster.concurrent

    def query() -> int:
        nonlocal queried, fit
        if time.monotonic() - queried >= ROOM_S:
            total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            sizes = total.get("CPU", 0.0), total.get("GPU", 0.0)
            fit, queried = _fitting(*sizes, cluster.cpus_per_trial, cluster.gpus_per_trial), time.monotonic()
        return fit

    return query


def cluster_of_this_machine(resources: Resources) -> Cluster:
    """Return what `connect` would find here, without starting Ray.

    Raises:
        BadInput: this machine has less than one trial requires.
    """
    import torch

    return _share(resources, {"CPU": cores_of_ray(resources), "GPU": float(torch.cuda.device_count())})
