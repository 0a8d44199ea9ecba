"""What a process keeps: seen from outside, in processes of their own."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.trial.training.process import CoreShare, set_threads

KEPT = """
import resource, torch
from pipeline.trial.training.process import keep_memory, one_of_many_tasks
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():  # 40 MB at a time: above any threshold of the C library
    for _ in range(8):
        torch.ones(10_000_000).sum()
def faults_of_work():
    for _ in range(4):
        work()
    before = faults()
    work()
    return faults() - before
def resident_mb():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024
mapped = faults_of_work()
assert keep_memory()
with one_of_many_tasks(1):  # before any memory is kept: what is held here is new
    before = resident_mb()
    tensors = [torch.ones(1_000_000) for _ in range(100)]  # 400 MB
    held = resident_mb()
    del tensors
    freed = resident_mb()
print(held - before, freed - before, resident_mb() - before)
print(mapped, faults_of_work())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory_is_not_mapped_again_and_a_process_that_stays_idle_gives_it_back() -> None:
    run = subprocess.run([sys.executable, "-c", KEPT], check=True, capture_output=True, text=True)
    memory_mb, faults = (tuple(map(int, line.split())) for line in run.stdout.splitlines())
    mapped, not_mapped = faults
    assert not_mapped * 10 < mapped
    held, kept, idle = memory_mb
    assert held > 300
    assert kept > 300, "within a task it is kept for the next step"
    assert idle < 50


def test_threads_are_whole_cores():
    before = torch.get_num_threads()
    try:
        for cpus, threads in ((0.5, 1), (1.0, 1), (2.9, 2)):
            set_threads(cpus)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_share_of_a_core_by_hand(tmp_path: Path) -> None:
    def write(thread: str, ran: int, waited: int) -> None:
        (tmp_path / thread).mkdir(exist_ok=True)
        (tmp_path / thread / "schedstat").write_text(f"{ran} {waited} 7\n")

    write("1", 1_000, 500)
    write("2", 0, 0)
    share = CoreShare(tmp_path)
    assert share.read() == 1.0  # nothing has run since
    write("1", 1_600, 700)  # 600 on a core, 200 in the queue
    write("2", 300, 0)
    write("3", 100, 100)  # began meanwhile
    assert share.read() == pytest.approx(1_000 / 1_300)
    assert CoreShare(tmp_path / "none").read() == 1.0


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count")
def test_two_threads_on_one_core_have_half_of_it_each() -> None:
    code = """
import os, threading, time
from pipeline.trial.training.process import CoreShare
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
spin = [sys.executable, "-c", "while True: pass"]
others = [subprocess.Popen(spin) for _ in range(2)]
share, end = CoreShare(), time.monotonic() + 1
while time.monotonic() < end: pass
print(share.read())
for other in others: other.kill()
"""
    run = subprocess.run(
        [sys.executable, "-c", "import subprocess, sys\n" + code], capture_output=True, text=True
    )
    assert float(run.stdout) < 0.6, run.stderr


def test_denormals_are_zero_in_every_thread_of_a_worker() -> None:
    code = """
import torch
from pipeline.trial.training.process import one_of_many_tasks
with one_of_many_tasks(2.0):
    print(int((torch.full((1 << 20,), 1e-39) * 0.5).count_nonzero()))  # enough numbers for all threads
assert torch.tensor(1e-39) * 0.5 > 0  # whoever called goes on as before
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) == 0
    assert int((torch.full((1 << 20,), 1e-39) * 0.5).count_nonzero()) == 1 << 20  # of a process that is none
