"""What is done between the steps of a trial's training: history, progress, rungs, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, final

import torch

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import TUNED, Measurement, Rung
from pipeline.study.store import NO_SPACE, ObjectStoreLost, save_record
from pipeline.trial import checkpoint as checkpoints
from pipeline.trial.findings import Findings, validation_values
from pipeline.trial.inputs import OnEpoch
from pipeline.trial.measure import Evaluation
from pipeline.trial.run import TrialRun
from pipeline.trial.rungs import RUNG_STEPS, make_rung, rung_split, rung_steps
from pipeline.trial.training.loop import Listener, LoopState

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OnRung = Callable[[Rung], None]
NO_CHECKPOINTS = "checkpoints not kept: the disk was full"


@final
class Monitor(Listener):
    """The listener of a trial's training.

    `projected` is the compression that the trial is expected to end with: its target, or what the latest scores give;
    None if neither is known.
    """

    def __init__(self, run: TrialRun, findings: Findings, on_epoch: OnEpoch, on_rung: OnRung | None) -> None:
        """Begin to watch a run; without `on_rung` there are no rungs."""
        self.run, self.findings = run, findings
        self.projected = run.settings.target
        self._report, self._on_rung = on_epoch, on_rung
        self._rung_steps = {} if on_rung is None else rung_steps(run.phases, run.job.ask.rungs)
        self._last_checkpoint = self._last_beat = findings.started

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Note an epoch, with the metric; where a phase ends, what follows measures the metric anyway."""
        run = self.run
        if round(epoch * run.per_epoch) < run.phase.end:
            values = values | validation_values(run.inputs.evaluate(run.model))
        self.findings.add_epoch(epoch, values)
        self._report(run.progress(epoch, values, projected=self.projected))

    def on_step(self, state: Callable[[], LoopState]) -> None:
        """Show the rung at this step, report progress and write a checkpoint, each if it is due."""
        run, job = self.run, self.run.job
        self.findings.gpu_use.sample()
        rung = self._rung_steps.get(run.position)
        if rung is not None and self._on_rung is not None:
            self._show_rung(rung, self._on_rung)
        now = time.monotonic()
        if now - self._last_beat >= job.ask.beat_s:
            self._last_beat, loss = now, run.recent_loss
            values = {} if loss is None else {"train_loss": loss}
            self._report(run.progress(run.position / run.per_epoch, values, projected=self.projected))
        if now - self._last_checkpoint >= job.checkpoint_s:
            self.write_checkpoint(state())

    def show_curve(self) -> None:
        """Show the curve of the tuning that has just ended, if more training follows: a first look at the front."""
        run = self.run
        if self._on_rung is None or run.phase.end == run.phases[-1].end:
            return
        found = [each.measurement for each in self.findings.points if each.round == run.phase.round]
        self._on_rung(make_rung(TUNED, run.epochs, found, rows=len(run.inputs.data.validation)))

    def stop_checkpoints(self) -> None:
        """Write no checkpoint any more: the disk is full of what one of them would need."""
        self.findings.reason = NO_CHECKPOINTS
        self._last_checkpoint = math.inf

    def write_checkpoint(self, state: LoopState) -> None:
        """Write a checkpoint; where there is no space for it, note that."""
        run, findings = self.run, self.findings
        checkpoint = checkpoints.Checkpoint(run.phase_index, state, run.masks, findings.record())
        try:
            checkpoints.save(run.job.attempts[-1], checkpoint)
        except ObjectStoreLost:  # it is whole on this machine; the next one is sent, too
            pass
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            findings.reason = NO_CHECKPOINTS  # an older one is there, or none
        self._last_checkpoint = time.monotonic()

    def _show_rung(self, index: int, on_rung: OnRung) -> None:
        """Report what the trial would give if it ended here; its record so far is written, in case that it does."""
        run, findings = self.run, self.findings
        if any(rung.index == index for rung in findings.rungs):
            return
        run.epochs = run.position / run.per_epoch
        with run.between_steps():
            rung = self._measure_rung(index)
        findings.rungs.append(rung)
        save_record(run.job.attempts[-1], replace(findings.record(), state="stopped", points=()))
        on_rung(rung)

    def _measure_rung(self, index: int) -> Rung:
        """Measure what the trial would give; in recovery, what it has found and its network as it is."""
        run, rows = self.run, rung_split(self.run.inputs.data.validation)

        def examine(model: PreTrainedModel, anatomy: Anatomy) -> tuple[Evaluation, Measurement]:
            return run.measure(model, anatomy, rows)

        if run.phase.name == "recover":
            found = [point.measurement for point in self.findings.points]
            found.append(examine(run.model, run.anatomy)[1])
        else:
            with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
                copy, ranking = run.rank_copy()
                self.projected = run.choose(ranking, rounds_left=1).compression
                steps = ranking.steps(most=RUNG_STEPS)
                found = [measured for *_, measured in ranking.walk(copy, steps, examine)]
        return make_rung(index, run.epochs, found, rows=len(rows))
