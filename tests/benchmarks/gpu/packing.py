"""Trials at once, in processes of their own, against one alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch

from pipeline.trial.training.process import mps_runs
from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.benchmarks.gpu.bench import BATCH, Bench
from tests.benchmarks.gpu.networks import inputs_of

ROOT = Path(__file__).parents[3]


def processes(bench: Bench) -> None:
    """Trials a second of 1, 4 and 8 processes."""
    alone = 0.0
    for count in (1, 2) if bench.tiny else (1, 4, 8):
        seconds, peaks = _at_once(bench, count)
        alone = alone or 1 / seconds
        what = f"{count} at once, MPS {'on' if mps_runs() else 'off'}"
        bench.say(
            "packing", what, seconds=seconds, rate_over_alone=count / seconds / alone, peak_mb=max(peaks)
        )


def _at_once(bench: Bench, count: int) -> tuple[float, list[float]]:
    """(seconds from when all are ready until the last has ended, the peak of each in MB)."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--body", "--device", bench.device.type]
    command += ["--tiny"] * bench.tiny
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) for _ in range(count)]
    try:
        for process in running:
            if process.stdout is None or process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"A process ended early: {command}")
        start = time.perf_counter()
        for process in running:
            if process.stdin is not None:
                process.stdin.write("go\n")
                process.stdin.flush()
        outputs = [process.communicate()[0] for process in running]
        took = time.perf_counter() - start
    finally:
        for process in running:  # those that are left by an error
            process.kill()
    if any(process.returncode for process in running):
        raise RuntimeError(f"A process failed: {command}")
    return took, [float(output) for output in outputs]


def body(bench: Bench) -> None:
    """What the processes run: a trial of one epoch and one, once they are told to; prints its peak in MB."""
    shape = list(bench.shapes.values())[-1]
    inputs = inputs_of(bench, shape)
    epochs = 0.2 if bench.tiny else 1.0
    params = subject.defaults("snip", tune_epochs=epochs, recover_epochs=epochs, batch_size=BATCH)
    bench.step_ms(bench.network(shape), inputs.data.train, steps=1, warm=1)  # kernels are loaded
    print("ready", flush=True)
    sys.stdin.readline()
    run_trial(inputs, subject.job(params), lambda _: None)
    print(torch.cuda.max_memory_reserved() / 1e6 if bench.cuda else 0.0)
