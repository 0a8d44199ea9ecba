"""The first tuning of several trials in one process, as one stack of networks.

Where launches bind a step, as on a GPU, K trials are tuned so for little more than the time of one. Each leaves a
checkpoint at the end of its first tuning, in the folder of an attempt of its own, and goes on from there as after any
interruption: its record, its restarts and its failures are those of a single trial. What goes wrong here costs time
alone: a trial without a checkpoint begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from pipeline.model.device import device_of
from pipeline.study.records import Rung
from pipeline.trial.findings import Findings
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.monitor import Monitor
from pipeline.trial.run import TrialRun
from pipeline.trial.training.gpu_memory import release
from pipeline.trial.training.loop import Listener, LoopState
from pipeline.trial.training.stacked import StackedTraining, can_be_stacked

LEAST = 2  # trials of a stack


def tune_together(
    inputs: TrialInputs,
    jobs: Sequence[TrialJob],
    on_epoch: Callable[[int, dict[str, float]], None],
    on_rung: Callable[[int, Rung], None] | None = None,
) -> str:
    """Tune trials up to their first cuts as one stack; return why that was not possible, or an empty string.

    Args:
        inputs: what all trials of the study share.
        jobs: trials that have not begun; those whose batches are of another size than the first's are left out.
        on_epoch: called with a trial's number after each of its epochs and, if its job has a beat, between them.
        on_rung: called with a trial's number at its rungs.
    """
    try:
        return _tune(inputs, jobs, on_epoch, on_rung)
    except (RuntimeError, NotImplementedError) as error:
        # what vmap has no rule for, or too little memory for all at once: each is then trained by itself
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    release(device_of(inputs.device))
    return reason


def _tune(
    inputs: TrialInputs,
    jobs: Sequence[TrialJob],
    on_epoch: Callable[[int, dict[str, float]], None],
    on_rung: Callable[[int, Rung], None] | None,
) -> str:
    members = [_Member(inputs, job, on_epoch, on_rung) for job in jobs]
    size = members[0].run.recipe.batch_size
    fit = [each for each in members if each.run.recipe.batch_size == size and each.run.phases[0].steps]
    if len(fit) < LEAST:
        return "there are no two trials whose batches are of one size"
    loops = [each.run.loop_of(each.run.phases[0], each) for each in fit]
    if not all(map(can_be_stacked, loops)):
        return "the method, or what is learned beside the labels, needs steps of its own"
    for each in fit:
        each.findings.stacked = len(fit)
    StackedTraining(loops).fit()  # one that fails leaves no checkpoint: it fails again by itself
    return ""


@final
class _Member(Listener):
    """A trial of a stack: what it finds, and its checkpoint at the end of its first tuning."""

    def __init__(
        self,
        inputs: TrialInputs,
        job: TrialJob,
        on_epoch: Callable[[int, dict[str, float]], None],
        on_rung: Callable[[int, Rung], None] | None,
    ) -> None:
        number = job.ask.number
        self.run = TrialRun(inputs, job)
        self.findings = Findings(self.run, started=time.monotonic())
        self._monitor = Monitor(
            self.run,
            self.findings,
            lambda values: on_epoch(number, values),
            None if on_rung is None else lambda rung: on_rung(number, rung),
        )

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        """As a single trial."""
        self._monitor.on_epoch(epoch, values)

    def on_step(self, state: Callable[[], LoopState]) -> None:
        """As a single trial, with a checkpoint after the last step."""
        self._monitor.on_step(state)
        if self.run.position == self.run.phases[0].end:
            self._monitor.write_checkpoint(state())
