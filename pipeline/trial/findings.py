"""What a trial has found so far, and the record that it comes to."""

from __future__ import annotations

import math
import operator
import time
from dataclasses import replace
from typing import final

import torch

from pipeline.study.provenance import provenance
from pipeline.study.records import (
    UNRECOVERED,
    FrontSoFar,
    HistoryRow,
    Measurement,
    Point,
    Rung,
    TrialRecord,
)
from pipeline.trial.curve.allocation import Step
from pipeline.trial.measure import Evaluation, count_zeroed
from pipeline.trial.run import TrialRun
from pipeline.trial.training.gpu_memory import peaks_mb
from pipeline.trial.training.gpu_use import GpuUse, nvml_reader

STACKED = "stacked_trials"  # a key of provenance


@final
class Findings:
    """Points, history and rungs of a trial, and what there is to remark on it."""

    def __init__(self, run: TrialRun, *, started: float) -> None:
        """Begin with nothing found.

        Args:
            run: the trial.
            started: when this attempt began, by the monotonic clock.
        """
        self.run, self.started = run, started
        self.points: list[Point] = []
        self.history: list[HistoryRow] = []
        self.rungs: list[Rung] = []
        self.reason = ""
        self._in_vain = False  # whether a recovery was left out
        self.gpu_use = GpuUse(nvml_reader(run.device))
        self.stacked = 1  # trials whose first tuning was that of one stack
        self._seconds_before = 0.0  # of earlier attempts
        self._resumed_at: float | None = None  # epochs that earlier attempts had trained

    def resume(self, before: TrialRecord, *, epoch: float) -> None:
        """Go on from what was found up to a checkpoint, written after `epoch` epochs."""
        self.points, self.history = list(before.points), list(before.history)
        self.rungs, self.reason = list(before.rungs), before.reason
        self.stacked = int(before.provenance.get(STACKED, 1))
        self._seconds_before, self._resumed_at = before.seconds, epoch

    def add_epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Add a row to the history of the phase at hand."""
        phase = self.run.phase
        self.history.append(HistoryRow(phase.name, phase.round, epoch, values))

    def complete_history(self, evaluation: Evaluation) -> None:
        """Add the metric measured right after the phase at hand to the phase's last row, if it has one."""
        row = self.history[-1] if self.history else None
        if row is not None and row.phase == self.run.phase.name and "metric" not in row.values:
            self.history[-1] = replace(row, values=row.values | validation_values(evaluation))

    def add_curve(self, step: Step, evaluation: Evaluation, measured: Measurement) -> None:
        """Add a point of this round's curve."""
        round_, predictions = self.run.phase.round, evaluation.predictions
        self.points.append(Point("curve", round_, step.threshold, measured, step.masks, predictions))

    def add_recovered(self, measured: tuple[Evaluation, Measurement] | None) -> None:
        """Add the recovered network; one that was not trained since its cut (None) is its point on the curve."""
        point = replace(self._cut_point(), kind="recovered")
        if measured is not None:
            evaluation, measurement = measured
            point = replace(point, measurement=measurement, predictions=evaluation.predictions)
        self.points.append(point)

    def add_recovered_step(self, step: Step, evaluation: Evaluation, measured: Measurement) -> None:
        """Add a network of the chain that has just been recovered."""
        self.add_curve(step, evaluation, measured)
        self.points[-1] = replace(self.points[-1], kind="recovered")

    def end_in_vain(self, why: str) -> None:
        """Add the cut network, which is not trained on, as the trial's end."""
        self.add_recovered(None)
        self.reason, self._in_vain = why, True

    def add_climbed(self, evaluation: Evaluation, measured: Measurement) -> None:
        """Add the network that a ladder has just recovered."""
        round_, masks = self.run.phase.round, self.run.anatomy.present
        self.points.append(Point("recovered", round_, -math.inf, measured, masks, evaluation.predictions))

    def may_stand(self, front: FrontSoFar | None) -> bool:
        """Return whether a network that the phase at hand has added may stand on the study's front."""
        if front is None:
            return True
        kind, round_ = "curve" if self.run.phase.name == "tune" else "recovered", self.run.phase.round
        stands = front.may_hold([point.measurement for point in self.points])
        of_phase = [point.kind == kind and point.round == round_ for point in self.points]
        return any(map(operator.and_, stands, of_phase))

    def _cut_point(self) -> Point:
        """Return the cut network's point: recovery changes neither its units nor the number of its zeros."""
        run, anatomy = self.run, self.run.anatomy
        found = [p for p in self.points if p.round == run.phase.round and p.masks.same(anatomy.present)]
        now = count_zeroed(anatomy) / anatomy.costs.encoder if run.inputs.zeroes else 0.0
        return min(found, key=lambda point: abs(point.measurement.sparsity - now))

    def record(self) -> TrialRecord:
        """Return all that was found so far as the record of a complete trial."""
        run = self.run
        return TrialRecord(
            number=run.job.ask.number,
            state="complete",
            reason=self.reason,
            params=run.job.ask.params,
            seed=run.job.ask.seed,
            points=tuple(self.points),
            history=tuple(self.history),
            epochs=run.epochs,
            seconds=self._seconds_before + time.monotonic() - self.started,
            attempts=len(run.job.attempts),
            provenance=provenance() | self._facts(),
            rungs=tuple(self.rungs),
        )

    def _facts(self) -> dict[str, str]:
        """Return how this trial was trained, as far as its parameters do not hold it."""
        run = self.run
        facts = {} if run.recipe.parts == 1 else {"batch_parts": str(run.recipe.parts)}
        if self.stacked > 1:
            facts[STACKED] = str(self.stacked)
        if run.recipe.checkpointing:
            facts["activation_checkpointing"] = "on"
        if run.compilation is not None:
            facts |= run.compilation.facts()
        if self._in_vain:
            facts |= UNRECOVERED
        if self._resumed_at is not None:
            facts["resumed_at_epoch"] = f"{self._resumed_at:.4g}"
        if run.distillation is not None:
            facts["distill"] = run.inputs.distill
        original = run.inputs.source.original
        if original is not None and original.tokens:
            facts["vocabulary"] = f"{run.model.config.vocab_size} of {original.tokens} tokens"
        cuda = run.device.type == "cuda"
        return facts | {
            "device": torch.cuda.get_device_name(run.device) if cuda else "cpu",
            "precision": run.recipe.precision,
            "threads": str(torch.get_num_threads()),
            **run.step_facts,
            **self.gpu_use.facts(),
            **{name: f"{value:.0f}" for name, value in peaks_mb(run.device).items()},
        }


def validation_values(evaluation: Evaluation) -> dict[str, float]:
    """Return what a row of the history holds of an evaluation."""
    return {"validation_loss": evaluation.loss, "metric": evaluation.metrics["metric"]}
