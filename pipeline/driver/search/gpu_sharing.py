"""GPU sharing: what the first trials need of a card, and how busy they keep it, decide how many then share one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.driver.execute import Cluster, Packing, Peak
from pipeline.study.store import Store
from pipeline.trial.training.gpu_use import BUSY

LOOKED_AT = 8  # trials of a continued study whose peaks are read
GPU_PEAK, GPU_TOTAL, RAM_PEAK = "peak_gpu_reserved_mb", "gpu_total_mb", "peak_memory_mb"


def peak_of_trials(store: Store, study: str, dense: Peak | None) -> Peak | None:
    """Return the dense network's peak with the trials' peak on a GPU; `dense` if no trial recorded one."""
    files = store.study(study)
    facts = [files.read_provenance(number) for number in files.finished_numbers()[:LOOKED_AT]]
    noted = [each for each in facts if float(each.get(GPU_PEAK, 0.0))]
    if not noted:
        return dense
    ram = dense or Peak.of_trial(max(float(each[RAM_PEAK]) for each in noted))
    return replace(
        ram,
        gpu_trial_mb=max(float(each[GPU_PEAK]) for each in noted),
        gpu_total_mb=min(float(each[GPU_TOTAL]) for each in noted),
        gpu_busy=float(noted[0].get(BUSY, 0.0)),  # of the first, which had its card to itself
    )


def alone(packing: Packing) -> Cluster | None:
    """Return a cluster with one card per trial; None unless the packing shares cards without a trial's peak."""
    cluster = packing.cluster
    if not packing.estimated:
        return None
    return replace(cluster, gpus_per_trial=1.0, concurrent=min(cluster.concurrent, int(cluster.gpus)))


def grows(cluster: Cluster, pack: Callable[[], Packing]) -> Callable[[], int]:
    """Return how many trials may run at once on one GPU: one, until a trial has shown what it needs.

    So the first trial's process stays for those after it: with a cluster of its own it would end with it.
    """
    room: int | None = None

    def at_once() -> int:
        nonlocal room
        if room is None:
            packing = pack()
            if packing.estimated:
                return 1
            room = min(packing.cluster.concurrent, cluster.concurrent)
        return room

    return at_once
