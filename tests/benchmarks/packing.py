"""Two trials at once with one thread each, against one after the other with two threads: wall time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import torch

from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.benchmarks.pairs import Missing, Row, compare

NAME = "packing"
TRAIN = 640


def measure(*, quick: bool) -> Iterator[Row | Missing]:
    """Rows for the table."""
    if subject.GPU:
        yield Missing(NAME, "trials at once", "on a GPU not written yet")
        return
    yield compare(
        NAME,
        "2 trials at once, 1 thread each / in turn, 2 threads",
        turn=lambda: _wall(processes=2, threads=1),
        against=lambda: 2 * _wall(processes=1, threads=2),
        base="two trials in turn",
        pairs=1 if quick else 5,
        warm=False,
    )


def _wall(*, processes: int, threads: int) -> float:
    """Seconds from when all are ready until the last one ends."""
    command = [sys.executable, "-m", "tests.benchmarks", "--body", str(threads)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        _line(process)
    start = time.perf_counter()
    for process in running:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    for process in running:
        if process.wait():
            raise RuntimeError(f"A benchmark's process failed: {process.args}")
    return time.perf_counter() - start


def _line(process: subprocess.Popen[str]) -> None:
    if process.stdout is None or not process.stdout.readline():
        raise RuntimeError(f"A benchmark's process ended early: {process.args}")


def body(threads: int) -> None:
    """What the processes run: a trial, once they are told to."""
    torch.set_num_threads(threads)
    given = subject.inputs("snip", train=TRAIN)
    params = subject.defaults("snip", tune_epochs=1.0, recover_epochs=1.0)
    subject.network()  # imports are not timed
    print("ready", flush=True)
    sys.stdin.readline()
    run_trial(given, subject.job(params), lambda _: None)
