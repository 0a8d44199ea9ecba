"""GPU sharing: the first trials have a card each, and their peak memory decides how many trials then share one."""

from __future__ import annotations

from dataclasses import replace

from pipeline.driver.execute import Cluster, Packing, Peak
from pipeline.study.store import Store

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
    )


def alone(packing: Packing) -> Cluster | None:
    """Return a cluster with one card per trial; None unless the packing shares cards without a trial's peak."""
    cluster = packing.cluster
    if not packing.estimated:
        return None
    return replace(cluster, gpus_per_trial=1.0, concurrent=min(cluster.concurrent, int(cluster.gpus)))
