"""One short trial in a worker, timed part by part, from which whole ones are priced.

Some steps of plain training, some of tuning under the method, the curve, some of recovery on a half cut network, one
evaluation, one checkpoint. Nothing is kept.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from pipeline.model.source import save_weights
from pipeline.study.records import Ask, Params, TrialRecord
from pipeline.study.store import before_cut
from pipeline.trial import checkpoint as checkpoints
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.run import TrialRun
from pipeline.trial.settings import LATENCY, POINT, UNITS
from pipeline.trial.training.loop import Listener, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.process import peak_memory_mb

HARMLESS = 1e-9  # a learning rate at which no loss can run away: a step takes as long at any rate
WARM_STEPS = 3  # at the start of each part: kernels are chosen, memory is allocated
PART_SECONDS = 6.0  # of one part of the training, about
LEAST_STEPS, MOST_STEPS = 6, 40  # of a part, after its warm ones

MB = 1e6  # bytes

Steps = tuple[float, ...]
NO_STEPS: Steps = (0.0,)  # where nothing is trained


@dataclass(frozen=True)
class ProbeResult:
    """The costs of a trial's parts on one worker; times in seconds, one per step, for their spread."""

    batch_size: int
    plain: Steps  # of a training step without the method
    tune: Steps  # with it
    recover: Steps  # of a half cut network
    curve: float  # ranking the units, and a whole curve over validation
    rank: float  # the ranking alone, which a ladder repeats
    evaluation: float  # of the dense network on validation
    checkpoint_mb: float
    weights_mb: float
    memory_mb: float  # peak of the process
    gpu_memory_mb: float | None  # peak of torch on a GPU
    seconds: float  # of the whole probe


def probe(inputs: TrialInputs, job: tuple[Params, int]) -> ProbeResult:
    """Time a short trial of some parameters and a seed, part by part; files go to a temporary folder.

    A dense network is trained without the method, then a trial is tuned, measured along its curve, cut in the middle of
    it (a threshold means nothing for a network that has hardly learned) and trained on. Where trials are not trained
    nothing is, and a step has no time.
    """
    started, (params, seed) = time.monotonic(), job
    params = {**params, "learning_rate": HARMLESS}
    dense = TrialRun(inputs, TrialJob(Ask(0, {**params, "start_dense": False}, seed), keep_weights=False))
    count, plain = 0, NO_STEPS
    if dense.phases[-1].end:
        first = _time_plain(dense, WARM_STEPS + 2)
        count = WARM_STEPS + max(LEAST_STEPS, min(MOST_STEPS, round(PART_SECONDS / max(max(first), 1e-4))))
        plain = (*first, *_time_plain(dense, count))
    with tempfile.TemporaryDirectory(prefix="prunefront-plan-") as name:
        folder = Path(name)
        epochs = count / dense.per_epoch
        short: Params = {"rounds": 1, "start_dense": False, "recover": POINT}
        short |= {"tune_epochs": epochs, "recover_epochs": epochs}
        if params.get("allocation") == LATENCY:  # a plan measures no table
            short["allocation"] = UNITS
        run = TrialRun(inputs, TrialJob(Ask(0, {**params, **short}, seed), (folder,), keep_weights=False))
        clock = _Clock(run, checkpoint=folder)
        tuning, recovery = run.phases
        run.train(tuning, clock)
        tune = clock.read() or NO_STEPS
        began = time.monotonic()
        ranking = run.rank()
        rank_s = time.monotonic() - began
        steps = ranking.steps(most=run.settings.curve_steps)
        for _ in ranking.walk(run.model, steps, run.measure):
            pass
        curve_s = time.monotonic() - began
        began = time.monotonic()
        inputs.evaluate(run.model)
        evaluation_s = time.monotonic() - began
        weights = folder / f"{before_cut(tuning.round)}.safetensors"
        save_weights(run.model, weights, scores=ranking.tensors)
        weights_mb = weights.stat().st_size / MB
        run.cut(ranking, steps[len(steps) // 2])
        run.train(recovery, clock)
    cuda = run.device.type == "cuda"
    return ProbeResult(
        batch_size=run.settings.batch_size,
        plain=plain,
        tune=tune,
        recover=clock.read() or NO_STEPS,
        curve=curve_s,
        rank=rank_s,
        evaluation=evaluation_s,
        checkpoint_mb=clock.checkpoint_mb,
        weights_mb=weights_mb,
        memory_mb=peak_memory_mb(),
        gpu_memory_mb=torch.cuda.max_memory_allocated() / MB if cuda else None,
        seconds=time.monotonic() - started,
    )


def _time_plain(dense: TrialRun, steps: int) -> Steps:
    """Train the dense network for some steps without the method, from batch 0 on."""
    clock = _Clock(dense)
    dense.train(Phase("recover", 0, 0, steps, dense.job.ask.seed), clock)
    return clock.read()


@final
class _Clock(Listener):
    """Notes when each step ends, and the size of a checkpoint after the first one if there is a folder for it."""

    def __init__(self, run: TrialRun, checkpoint: Path | None = None) -> None:
        self.checkpoint_mb = 0.0
        self._run, self._folder = run, checkpoint
        self._ticks: list[float] = []

    def on_step(self, state: Callable[[], LoopState]) -> None:
        """Note the time, once the device is done with the step."""
        if self._folder is not None and not self.checkpoint_mb:
            self.checkpoint_mb = _checkpoint_mb(self._run, state(), self._folder)
        if self._run.device.type == "cuda":
            torch.cuda.synchronize()
        self._ticks.append(time.monotonic())

    def read(self) -> Steps:
        """Return the seconds of each step after the warm ones, and begin anew."""
        ticks, self._ticks = self._ticks, []
        return tuple(b - a for a, b in zip(ticks[WARM_STEPS - 1 :], ticks[WARM_STEPS:], strict=False))


def _checkpoint_mb(run: TrialRun, state: LoopState, folder: Path) -> float:
    """Write a checkpoint and return its size."""
    record = TrialRecord(0, "complete", "", run.job.ask.params, run.job.ask.seed)
    checkpoints.save(folder, checkpoints.Checkpoint(run.phase_index, state, run.masks, record))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB
