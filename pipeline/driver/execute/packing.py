"""How many trials run at once on what a machine has: cores, memory, GPUs.

No result depends on it. What a trial needs is guessed from the most that its study's dense network needed, and on
a GPU known as soon as one has run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.driver.execute.cluster import Cluster, Resources

# Beside what plain fine-tuning needs a trial has a copy of its network, and hidden states, for its curve.
TRIAL_OF_DENSE = 1.5
LEFT_FREE = 0.1  # of the memory, for the driver and for what else grows
GPU_CONTEXT_MB = 600.0  # of each process on a GPU, outside PyTorch's own count
MOST_ON_A_GPU = 4  # nothing says yet that more of them pay


@dataclass(frozen=True)
class Peak:
    """The most memory that the dense network's training had, in MB; of a GPU: PyTorch's own, and the card's size."""

    ram_mb: float
    gpu_mb: float = 0.0
    gpu_total_mb: float = 0.0
    gpu_trial_mb: float = (
        0.0  # the most that a trial had on a GPU, where one has run: no guess is needed then
    )

    @classmethod
    def of_trial(cls, ram_mb: float) -> Peak:
        """Where a trial's own peak is known, and the dense network's is not."""
        return cls(ram_mb / TRIAL_OF_DENSE)


@dataclass(frozen=True)
class Packing:
    """What was chosen, and why, for a person."""

    cluster: Cluster
    reason: str
    guessed: bool = False  # whether trials share a GPU by what the dense network needed


def pack(
    resources: Resources,
    cluster: Cluster,
    peak: Peak | None,
    *,
    free_mb: float | None,
    mps: bool | None = None,
) -> Packing:
    """As many trials at once as cores, GPUs and memory hold; what a person has given stays as given.

    Args:
        resources: as asked for.
        cluster: what Ray has: trials by cores and GPUs alone.
        peak: None if it is not known.
        free_mb: memory of this machine for trials; None if they run elsewhere, or nobody says.
        mps: whether NVIDIA's MPS serves the GPUs; None if nobody says.
    """
    shared = _shared_gpu(resources, cluster, peak)
    facts = [f"{cluster.cpus:g} core{'s' * (cluster.cpus != 1)}"]
    if shared is not cluster:
        how = {None: "", True: " by NVIDIA's MPS", False: " in turn (NVIDIA's MPS does not run)"}[mps]
        facts.append(f"{round(1 / shared.gpus_per_trial)} share a GPU{how}")
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
    guessed = shared is not cluster and peak is not None and not peak.gpu_trial_mb
    return Packing(chosen, f"{each}: {', '.join(facts)}", guessed)


def fitting(trial_mb: float, free_mb: float) -> int:
    """How many trials the memory holds, 0 or more."""
    return int((1 - LEFT_FREE) * free_mb / trial_mb)


def trials_per_gpu(peak: Peak) -> int:
    """How many trials one GPU holds, 1 … MOST_ON_A_GPU; 1 if nothing was measured on one."""
    trial_mb = peak.gpu_trial_mb or TRIAL_OF_DENSE * peak.gpu_mb
    if not (trial_mb and peak.gpu_total_mb):
        return 1
    return max(1, min(MOST_ON_A_GPU, fitting(trial_mb + GPU_CONTEXT_MB, peak.gpu_total_mb)))


def _shared_gpu(resources: Resources, cluster: Cluster, peak: Peak | None) -> Cluster:
    """Several trials on each GPU, if nobody has said how many; no more trials than asked for."""
    if resources.gpus_per_trial is not None or cluster.gpus_per_trial != 1.0 or peak is None:
        return cluster
    together = trials_per_gpu(peak)
    if together == 1:
        return cluster
    cores = int(cluster.cpus / cluster.cpus_per_trial + 1e-9)
    most = max(cluster.concurrent, min(together * int(cluster.gpus), cores))
    return replace(cluster, gpus_per_trial=_part(together), concurrent=resources.concurrent or most)


def _part(together: int) -> float:
    """Of a GPU, in the ten-thousandths that Ray counts."""
    return int(10_000 / together) / 10_000
