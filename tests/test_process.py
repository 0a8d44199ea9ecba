"""What a process keeps: seen from outside, in processes of their own."""

import platform
import subprocess
import sys

import pytest
import torch

from pipeline.process import set_threads

FAULTS = """
import resource, torch
from pipeline.process import keep_memory
if {keep}:
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():  # 40 MB at a time: above any threshold of the C library
    for _ in range(8):
        torch.ones(10_000_000).sum()
for _ in range(4):
    work()
before = faults()
work()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory_is_not_mapped_again():
    def faults(keep: bool) -> int:
        run = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)], check=True, capture_output=True, text=True
        )
        return int(run.stdout)

    assert faults(True) * 10 < faults(False)


def test_threads_are_whole_cores():
    before = torch.get_num_threads()
    try:
        for cpus, threads in ((0.5, 1), (1.0, 1), (2.9, 2)):
            set_threads(cpus)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
