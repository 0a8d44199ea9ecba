"""The threads and the memory of a process that trains, and the limits that its machine sets to both."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

# glibc's mallopt: by default a tensor above 32 MB, or less, is mapped anew and returned in each step, and the kernel
# clears its pages each time: a gradient of the embeddings costs more to map than to compute.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 * 2**20
_NEVER_TRIM = 2**31 - 1
TASKS = Path("/proc/self/task")  # of this process
CGROUPS = Path("/sys/fs/cgroup")  # a container's limits (version 2)


@cache
def keep_memory() -> bool:
    """Keep freed memory in the process for its next step; return whether that was possible (glibc only)."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _NEVER_TRIM, _M_TOP_PAD: _TOP_PAD_BYTES}
    return all(mallopt(name, value) == 1 for name, value in settings.items())


def set_threads(cpus: float) -> None:
    """Set torch's threads to the number of whole cores, at least one."""
    import torch

    torch.set_num_threads(max(1, int(cpus)))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with this many threads of torch inside the context: sums are rounded as with as many elsewhere."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def zeroed_denormals() -> Iterator[None]:
    """Make numbers below 1.2e-38 zero inside the context, in this thread and, for good, in those that it starts.

    A CPU takes more than ten times as long for them, and Adam's moments become as small: the first moment of a weight
    whose gradient a mask holds at zero does after some 800 steps.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def one_of_many_tasks(cpus: float) -> Iterator[None]:
    """Set the threads for one task of a process that runs several; free all memory of the task at its end.

    Networks are part of reference cycles (their hooks refer to them). Python collects those only after as many new
    objects as a quarter of all existing ones, and a trial makes few, but large ones: without this a process of
    MiniLM's trials grew by 90 MB with each. What the first task has imported is frozen, and not searched again.
    """
    try:
        with zeroed_denormals():  # before there are other threads
            set_threads(cpus)
            yield
    finally:
        gc.collect()
        _empty_gpu_cache()
        _give_back_memory()
        if not gc.get_freeze_count():
            gc.freeze()


def _give_back_memory() -> None:
    """Return freed memory to the system, also where `keep_memory` was called: this process may stay, idle."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _empty_gpu_cache() -> None:
    """Leave a GPU's memory to other processes: this one may stay, idle."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


class CoreShare:
    """The share of time in which a process has a core, of all the time in which it could use one."""

    def __init__(self, tasks: Path = TASKS) -> None:
        self._tasks = tasks
        self._before = self._times()

    def read(self) -> float:
        """Return the threads' time on a core, divided by the sum of that and their wait for one, since this was made.

        It is 1 where the kernel does not count (no Linux, or one that was built without statistics).
        """
        run = wait = 0
        for thread, (ran, waited) in self._times().items():
            before = self._before.get(thread, (0, 0))
            run, wait = run + ran - before[0], wait + waited - before[1]
        return run / (run + wait) if run + wait else 1.0

    def _times(self) -> dict[str, tuple[int, int]]:
        """(ns on a core, ns in the queue for one) of every thread."""
        found = {}
        for file in self._tasks.glob("*/schedstat"):
            with suppress(OSError):  # the thread has ended
                ran, waited, _ = file.read_text().split()
                found[file.parent.name] = int(ran), int(waited)
        return found


def peak_memory_mb() -> float:
    """Return the most memory that this process has had, in MB (10^6 bytes)."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def free_memory_mb(meminfo: Path = Path("/proc/meminfo"), cgroups: Path = CGROUPS) -> float | None:
    """Return the memory for new processes: that of the machine, or less where a container sets a limit."""
    found = []
    if meminfo.exists():
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in rows:
            found.append(int(rows["MemAvailable"].split()[0]) * 1_024 / 1e6)
    limit, used = _number(cgroups / "memory.max"), _number(cgroups / "memory.current")
    if limit is not None and used is not None:
        found.append(max(0.0, limit - used) / 1e6)
    return min(found, default=None)


def usable_cores(cgroups: Path = CGROUPS) -> int:
    """Return the cores that this process may use: by its affinity, or less in a container with a limit; at least 1."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    limit = cgroups / "cpu.max"
    if limit.exists():
        quota, period = limit.read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(int(quota) / int(period))))
    return cores


def _number(path: Path) -> float | None:
    text = path.read_text().strip() if path.exists() else "max"
    return None if text == "max" else float(text)


def mps_runs(processes: Path = Path("/proc")) -> bool:
    """Return whether NVIDIA's MPS serves this machine's GPUs: its daemon runs, or the address of one is set."""
    if os.environ.get("CUDA_MPS_PIPE_DIRECTORY"):
        return True
    for path in processes.glob("[0-9]*/comm"):
        with suppress(OSError):  # the process has ended meanwhile
            if path.read_text().startswith("nvidia-cuda-mps"):  # Linux keeps 15 letters of a name
                return True
    return False
