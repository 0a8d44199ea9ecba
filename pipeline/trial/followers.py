"""A trial on several GPUs: a process for each, which share out the batches of its training.

    first process: the trial as always ─ train ────────────────────── rank, curve, cut, measure ─ train ─ ...
    the others:        wait for an order ─ train the same phase ─ wait for an order ─ ...

The others get no order but to train: they keep nothing, write nothing, and end with the first one.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.model.device import device_of
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.run import TrialRun
from pipeline.trial.team import Team, joined
from pipeline.trial.training.loop import AtChance, Listener, TrainingFailed

ALIVE_S = 1.0  # between two looks at whether the first process still runs


@contextmanager
def team_of(inputs: TrialInputs, job: TrialJob) -> Iterator[Team | None]:
    """Start a trial's other processes, inside the context; None where the trial has one GPU, or a part of it.

    Raises:
        RuntimeError: there are fewer GPUs here than the trial was given.
    """
    if inputs.cards < 2:
        yield None
        return
    device = device_of(inputs.device)
    if device.type == "cuda" and torch.cuda.device_count() < inputs.cards:
        raise RuntimeError(
            f"This trial was given {inputs.cards} GPUs, and torch finds {torch.cuda.device_count()}."
        )
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="prunefront-team-") as name:
        folder = Path(name)
        bare = replace(job, attempts=(), keep_weights=False, ask=replace(job.ask, rungs=()))
        arguments = (inputs, bare, folder, torch.get_num_threads())
        others = [
            spawn.Process(target=_follow, args=(rank, os.getpid(), *arguments), daemon=True)
            for rank in range(1, inputs.cards)
        ]
        try:
            for other in others:
                other.start()
            with joined(0, inputs.cards, folder, device) as team:
                yield team
                team.end()
                for other in others:
                    other.join()
        finally:
            for other in others:
                if other.is_alive():
                    other.kill()


def _follow(rank: int, first: int, inputs: TrialInputs, job: TrialJob, folder: Path, threads: int) -> None:
    """Train what the first process orders, until it orders the end or is gone."""
    threading.Thread(target=_end_with, args=(first,), daemon=True).start()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if device_of(inputs.device).type == "cuda":
        torch.cuda.set_device(rank)
    with joined(rank, inputs.cards, folder, device_of(inputs.device)) as team:
        run = TrialRun(inputs, job, team=team)
        while (order := team.await_order()) is not None:
            with suppress(TrainingFailed, AtChance):  # the first process has seen the same
                run.follow(order, Listener())


def _end_with(first: int) -> None:
    while os.getppid() == first:
        time.sleep(ALIVE_S)
    os._exit(1)
