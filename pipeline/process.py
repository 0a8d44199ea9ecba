"""A process that trains: its threads, and the memory that it keeps."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

# glibc's mallopt: by default every tensor above 32 MB at most is mapped anew and given back, and the kernel
# clears its pages again in each step: a gradient of the embeddings costs more to map than to compute.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 * 2**20
_NEVER_TRIM = 2**31 - 1


@cache
def keep_memory() -> bool:
    """Keeps freed memory in the process for its next step, where the C library is glibc; says whether it is."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _NEVER_TRIM, _M_TOP_PAD: _TOP_PAD_BYTES}
    return all(mallopt(name, value) == 1 for name, value in settings.items())


def set_threads(cpus: float) -> None:
    """As many threads as whole cores, and one at least."""
    import torch

    torch.set_num_threads(max(1, int(cpus)))


def peak_memory_mb() -> float:
    """The most memory that this process has had, in MB (10^6 bytes)."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
