"""One short trial in a worker, timed part by part: what a whole one is made of.

Some steps of plain training, some of tuning under the method, the curve, some of recovery on a half cut network, one
evaluation, one checkpoint. Nothing of it is kept.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from pipeline.model.source import build, save_weights
from pipeline.study.records import Params, TrialRecord
from pipeline.study.store import before_cut
from pipeline.trial import checkpoint as resume
from pipeline.trial.inputs import TrialInputs, TrialJob
from pipeline.trial.measure import measure
from pipeline.trial.run import TrialRun
from pipeline.trial.training.loop import LoopState
from pipeline.trial.training.phases import Phase, steps_per_epoch
from pipeline.trial.training.process import peak_memory_mb
from pipeline.trial.trial import CURVE_STEPS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.model.anatomy import Anatomy
    from pipeline.study.records import Measurement
    from pipeline.trial.measure import Evaluation

WARM_STEPS = 3  # at the start of each part: kernels are chosen, memory is got
PART_SECONDS = 6.0  # a part of the training is about so long
LEAST_STEPS, MOST_STEPS = 6, 40  # of a part, after its warm ones

Steps = tuple[float, ...]


@dataclass(frozen=True)
class Probed:
    """What the parts of a trial take on one worker; times in seconds, each step's own for their spread."""

    batch_size: int
    plain: Steps  # of a training step without the method
    tune: Steps  # with it
    recover: Steps  # of a half cut network
    curve: float  # ranking the units, and a whole curve over validation
    evaluation: float  # of the dense network on validation
    checkpoint_mb: float
    weights_mb: float
    memory_mb: float  # the most that the process had
    gpu_memory_mb: float | None  # the most that torch had of a GPU
    seconds: float  # that all of this took


def probe(inputs: TrialInputs, job: tuple[Params, int]) -> Probed:
    """Runs a short trial of the parameters and the seed; files go to a temporary folder of this machine."""
    params, seed = job
    started = time.monotonic()
    per_epoch = steps_per_epoch(len(inputs.data.train), int(params["batch_size"]))
    plain = _Plain(inputs, params, seed)
    first = plain.timed(WARM_STEPS + 2)
    steps = max(LEAST_STEPS, min(MOST_STEPS, round(PART_SECONDS / max(max(first), 1e-4))))
    times = (*first, *plain.timed(WARM_STEPS + steps))
    short: Params = dict(params) | {"rounds": 1, "start_dense": False}
    short |= {
        "tune_epochs": (WARM_STEPS + steps) / per_epoch,
        "recover_epochs": (WARM_STEPS + steps) / per_epoch,
    }
    with tempfile.TemporaryDirectory(prefix="prunefront-plan-") as folder:
        course = _Short(inputs, TrialJob(0, short, seed, (Path(folder),), keep_weights=False))
        course.run()
    cuda = course.device.type == "cuda"
    return Probed(
        batch_size=int(params["batch_size"]),
        plain=times,
        tune=course.times["tune"],
        recover=course.times["recover"],
        curve=course.curve_s,
        evaluation=course.evaluation_s,
        checkpoint_mb=course.checkpoint_mb,
        weights_mb=course.weights_mb,
        memory_mb=peak_memory_mb(),
        gpu_memory_mb=torch.cuda.max_memory_allocated() / 1e6 if cuda else None,
        seconds=time.monotonic() - started,
    )


class _Timed(TrialRun):
    """A course that looks at the clock after each step."""

    def __init__(self, inputs: TrialInputs, job: TrialJob) -> None:
        super().__init__(inputs, job, lambda _: None)
        self.ticks: list[float] = []

    def step(self, state: Callable[[], LoopState]) -> None:
        """Listener: a step ended."""
        del state
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.ticks.append(time.monotonic())

    def since_warm(self) -> Steps:
        """The seconds of each step after the warm ones; the clock begins anew."""
        ticks, self.ticks = self.ticks, []
        return tuple(b - a for a, b in zip(ticks[WARM_STEPS - 1 :], ticks[WARM_STEPS:], strict=False))

    def after_tuning(self, phase: Phase) -> bool:
        """Nothing follows."""
        del phase
        return False

    def recover(self, phase: Phase) -> None:
        """Nothing follows."""


@final
class _Plain(_Timed):
    """The dense network's training."""

    def __init__(self, inputs: TrialInputs, params: Params, seed: int) -> None:
        super().__init__(inputs, TrialJob(0, {**params, "start_dense": False}, seed, (), keep_weights=False))
        self.model, self.anatomy = build(inputs.source, seed=seed)
        nn.Module.to(self.model, self.device)

    def timed(self, steps: int) -> Steps:
        """Trains so many steps, from batch 0 on."""
        self.phases = (Phase("recover", 0, 0, steps, self.job.seed),)
        self.train(self.phase)
        return self.since_warm()


@final
class _Short(_Timed):
    """Tuning, curve, recovery of a half cut network: each timed."""

    def __init__(self, inputs: TrialInputs, job: TrialJob) -> None:
        super().__init__(inputs, job)
        self.times: dict[str, Steps] = {}
        self.curve_s = self.evaluation_s = self.checkpoint_mb = self.weights_mb = 0.0

    def step(self, state: Callable[[], LoopState]) -> None:
        """Listener: a step ended; the first one leaves what a checkpoint would hold."""
        if not self.checkpoint_mb:
            folder = self.job.attempts[-1]
            record = TrialRecord(0, "complete", "", self.params, self.job.seed)
            resume.save(folder, resume.Checkpoint(self.index, state(), self.masks, record))
            self.checkpoint_mb = _megabytes(folder)
        super().step(state)

    def after_tuning(self, phase: Phase) -> bool:
        """The curve, and a cut in the middle of it: a threshold says nothing of an untrained network."""
        self.times["tune"] = self.since_warm()
        started = time.monotonic()
        ranking = self.rank()
        steps = ranking.steps(most=CURVE_STEPS)
        for _ in ranking.walk(self.model, steps, self._examine):
            pass
        self.curve_s = time.monotonic() - started
        started = time.monotonic()
        self.evaluate(self.model)
        self.evaluation_s = time.monotonic() - started
        path = self.job.attempts[-1] / f"{before_cut(phase.round)}.safetensors"
        save_weights(self.model, path, scores=ranking.tensors)
        self.weights_mb = path.stat().st_size / 1e6
        self.take(ranking, steps[len(steps) // 2])
        return True

    def recover(self, phase: Phase) -> None:
        """Some steps on what is left."""
        self.train(phase)
        self.times["recover"] = self.since_warm()

    def _examine(self, model: PreTrainedModel, anatomy: Anatomy) -> tuple[Evaluation, Measurement]:
        evaluation, inputs = self.evaluate(model), self.inputs
        measured = measure(
            model, anatomy, evaluation, length=inputs.length, count_zeros=inputs.zeroes, latency=None
        )
        return evaluation, measured


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
