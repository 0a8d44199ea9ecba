"""How many trials run at once on a machine's cores, memory and GPUs.

No result depends on it. A trial's memory is estimated from the peak of its study's dense network; on a GPU it is
known as soon as one trial has run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.driver.execute.cluster import Cluster, Resources

# Beyond plain fine-tuning, a trial holds a copy of its network and hidden states, for its curve.
TRIAL_OF_DENSE = 1.5
LEFT_FREE = 0.1  # fraction of the memory, for the driver and other processes
GPU_CONTEXT_MB = 600.0  # of each process on a GPU, outside PyTorch's count
UNMEASURED = 4  # trials on a GPU whose use by one of them is not known
BUSY = 0.9  # of the time a kernel runs: more trials then take turns, and each takes as much longer


@dataclass(frozen=True)
class Peak:
    """Peak memory of the dense network's training in MB; of a GPU: PyTorch's own peak, and the card's size."""

    ram_mb: float
    gpu_mb: float = 0.0
    gpu_total_mb: float = 0.0
    gpu_trial_mb: float = 0.0  # a trial's peak on a GPU, where one has run: it replaces the estimate
    gpu_busy: float = 0.0  # the share of time in which one trial alone keeps its GPU busy; 0: not known

    @classmethod
    def of_trial(cls, ram_mb: float) -> Peak:
        """Return the peak from a trial's own, where the dense network's is not known."""
        return cls(ram_mb / TRIAL_OF_DENSE)

    def of_stack(self, trials: int) -> Peak:
        """Return the peak of a process that tunes this many trials as one stack."""
        busy = min(1.0, trials * self.gpu_busy)
        return replace(
            self, gpu_mb=trials * self.gpu_mb, gpu_trial_mb=trials * self.gpu_trial_mb, gpu_busy=busy
        )


@dataclass(frozen=True)
class Packing:
    """The chosen cluster, and the reason in words."""

    cluster: Cluster
    reason: str
    estimated: bool = False  # whether trials share a GPU by an estimate from the dense network


def pack(
    resources: Resources,
    cluster: Cluster,
    peak: Peak | None,
    *,
    free_mb: float | None,
    mps: bool | None = None,
) -> Packing:
    """Return as many concurrent trials as cores, GPUs and memory hold; numbers given by the user stay.

    Args:
        resources: as requested.
        cluster: what Ray has: trials by cores and GPUs alone.
        peak: None if it is not known.
        free_mb: memory of this machine for trials; None if they run elsewhere, or it is not known.
        mps: whether NVIDIA's MPS serves the GPUs; None if it is not known.
    """
    shared = _shared_gpu(resources, cluster, peak)
    facts = [f"{cluster.cpus:g} core{'s' * (cluster.cpus != 1)}"]
    if shared is not cluster:
        how = {None: "", True: " by NVIDIA's MPS", False: " in turn (NVIDIA's MPS does not run)"}[mps]
        busy = f", each keeps it busy {peak.gpu_busy:.0%} of the time" if peak and peak.gpu_busy else ""
        facts.append(f"{round(1 / shared.gpus_per_trial)} share a GPU{how}{busy}")
    chosen = shared
    if peak is not None and free_mb is not None:
        trial_mb = TRIAL_OF_DENSE * peak.ram_mb
        facts.append(f"{free_mb / 1_000:.0f} GB free, about {trial_mb / 1_000:.1f} GB a trial")
        if resources.concurrent is None:
            fit = fitting(trial_mb, free_mb)
            chosen = replace(shared, concurrent=max(1, min(shared.concurrent, fit)))
    threads = max(1, int(chosen.cpus_per_trial))
    more = " (more as nodes join)" if chosen.grows else ""
    each = f"{chosen.concurrent} at once{more}, {threads} thread{'s' * (threads > 1)} each"
    estimated = shared is not cluster and peak is not None and not peak.gpu_trial_mb
    return Packing(chosen, f"{each}: {', '.join(facts)}", estimated)


def fitting(trial_mb: float, free_mb: float) -> int:
    """Return how many trials the memory holds, 0 or more."""
    return int((1 - LEFT_FREE) * free_mb / trial_mb)


def trials_per_gpu(peak: Peak) -> int:
    """Return how many trials one GPU holds, and how many it takes to keep it busy; 1 if nothing was measured on one."""
    trial_mb = peak.gpu_trial_mb or TRIAL_OF_DENSE * peak.gpu_mb
    if not (trial_mb and peak.gpu_total_mb):
        return 1
    most = math.ceil(BUSY / peak.gpu_busy) if peak.gpu_busy else UNMEASURED
    return max(1, min(most, fitting(trial_mb + GPU_CONTEXT_MB, peak.gpu_total_mb)))


def _shared_gpu(resources: Resources, cluster: Cluster, peak: Peak | None) -> Cluster:
    """Return a cluster with several trials per GPU, if no number was requested; not more trials than requested."""
    if resources.gpus_per_trial is not None or cluster.gpus_per_trial != 1.0 or peak is None:
        return cluster
    together = trials_per_gpu(peak)
    if together == 1:
        return cluster
    cores = int(cluster.cpus / cluster.cpus_per_trial + 1e-9)
    most = max(cluster.concurrent, min(together * int(cluster.gpus), cores))
    return replace(cluster, gpus_per_trial=_part(together), concurrent=resources.concurrent or most)


def _part(together: int) -> float:
    """Return a trial's share of a GPU, in the ten-thousandths that Ray counts."""
    return int(10_000 / together) / 10_000
