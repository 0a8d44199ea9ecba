"""A connection to Ray: on this machine, or to a running cluster; and what one trial takes of it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.study.records import BadInput
from pipeline.trial.training.process import usable_cores

# Read by Ray when it is imported: no calls home, no files per trial, no second progress display, and Ctrl-C
# reaches us instead of Tune (which would write a snapshot that nobody reads).
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the desk says what is lost, without a stack
}
# Of workers: one heap per process, whose freed memory the next trial has. Each trial runs in a thread of its own, and
# with glibc's many heaps (8 a core) every one of them may keep a trial's memory, 1 GB of MiniLM's, until none is left.
WORKER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
# Of this machine's memory for the object store: what trials share, and what the dense networks give back. Ray's
# own default is 30 % of all memory.
LEAST_STORE_BYTES = 300_000_000
STORE_COPIES = 5
ROOM_S = 2.0  # between two looks at what a cluster has
NODES_JOIN_S = 30.0  # a cluster that has just been started is given this long to get its nodes


@dataclass(frozen=True)
class Resources:
    """What trials run on. None: as many as the machine or cluster holds."""

    address: str | None = None
    concurrent: int | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray and what one trial takes of it."""

    concurrent: int
    cpus_per_trial: float
    gpus_per_trial: float
    cpus: float = 1.0  # of all its nodes
    gpus: float = 0.0
    grows: bool = False  # nodes may come and go: as many trials at once as it has room for then


def check_resources(resources: Resources) -> None:
    """Refuses what can be refused without Ray.

    Raises:
        BadInput: numbers that make no sense, or a GPU asked of a machine that has none.
    """
    if resources.concurrent is not None and resources.concurrent <= 0:
        raise BadInput(f"At least one trial runs at a time; --concurrent is {resources.concurrent}.")
    if resources.cpus_per_trial <= 0:
        raise BadInput(f"A trial takes some of the cores; --cpus-per-trial is {resources.cpus_per_trial:g}.")
    gpus = resources.gpus_per_trial
    if gpus is not None and gpus < 0:
        raise BadInput(f"A trial takes 0 GPUs, a part of one, or some; --gpus-per-trial is {gpus:g}.")
    if gpus and resources.address is None:
        import torch

        if torch.cuda.device_count() < gpus:
            raise _no_gpu(gpus, torch.cuda.device_count())


def _no_gpu(wanted: float, there: float) -> BadInput:
    return BadInput(
        f"A trial gets the GPUs it asks for; --gpus-per-trial is {wanted:g}, and there are {there:g}. "
        "Leave it out to run on CPUs, or join a cluster with GPUs by --address."
    )


@contextmanager
def connect(resources: Resources, *, shared_bytes: int) -> Iterator[Cluster]:
    """Starts Ray on this machine, or joins the cluster at `address`; leaves it at the end.

    `shared_bytes` is about what trials share: weights and rows.

    Raises:
        BadInput: no cluster answers, or it has less than one trial asks for.
    """
    ours = RAY_ENVIRONMENT | WORKER_ENVIRONMENT  # workers on this machine have the driver's
    os.environ |= {key: os.environ.get(key, value) for key, value in ours.items()}
    import ray
    from ray._private import worker

    # prints what raylets say of dead workers on stdout, whatever log_to_driver is; the desk says that in a line
    worker.print_to_stdstream = lambda *_args, **_kwargs: None
    cores = usable_cores()
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": True}
    if resources.address is None:
        wanted = (resources.concurrent or 1) * resources.cpus_per_trial
        ray.init(
            num_cpus=max(cores, round(wanted + 0.5)),
            include_dashboard=False,
            object_store_memory=LEAST_STORE_BYTES + STORE_COPIES * shared_bytes,
            **quiet,
        )
    else:
        try:
            ray.init(address=resources.address, runtime_env={"env_vars": dict(WORKER_ENVIRONMENT)}, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BadInput(
                f"--address names a running Ray cluster; {resources.address!r} did not answer "
                f"({str(error).splitlines()[0]}). Start one with `ray start --head`, or leave --address out."
            ) from error
    try:
        yield _wait_for_share(resources)
    finally:
        ray.shutdown()


def _wait_for_share(resources: Resources) -> Cluster:
    """What a trial takes; a cluster gets a while for its nodes to join."""
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
    """How many trials fit at once; `total` is what the cluster has."""
    cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0)
    per_trial = resources.gpus_per_trial
    if per_trial is None:
        per_trial = 1.0 if gpus else 0.0
    if per_trial > gpus:
        raise _no_gpu(per_trial, gpus)
    if resources.cpus_per_trial > cpus:
        raise BadInput(
            f"A trial gets the cores it asks for; --cpus-per-trial is {resources.cpus_per_trial:g} and Ray has "
            f"{cpus:g}. Ask for fewer."
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
    """Trials at once, 1 or more."""
    fit = min(cpus / cpus_per_trial, gpus / gpus_per_trial if gpus_per_trial else math.inf)
    return max(1, int(fit + 1e-9))


def room(cluster: Cluster) -> Callable[[], int]:
    """Says how many trials may run at once now; a cluster that grows is asked again after ROOM_S seconds."""
    if not cluster.grows:
        return lambda: cluster.concurrent
    import ray

    asked, fit = -ROOM_S, cluster.concurrent

    def ask() -> int:
        nonlocal asked, fit
        if time.monotonic() - asked >= ROOM_S:
            total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            sizes = total.get("CPU", 0.0), total.get("GPU", 0.0)
            fit, asked = _fitting(*sizes, cluster.cpus_per_trial, cluster.gpus_per_trial), time.monotonic()
        return fit

    return ask


def cluster_of_this_machine(resources: Resources) -> Cluster:
    """What `connect` would find here, without starting Ray.

    Raises:
        BadInput: this machine has less than one trial asks for.
    """
    import torch

    cores = max(usable_cores(), (resources.concurrent or 1) * resources.cpus_per_trial)
    return _share(resources, {"CPU": cores, "GPU": float(torch.cuda.device_count())})
