"""One trial from its parameters to its record, read top to bottom as one story.

    (tune – score – curve – choose – cut) × rounds – recover – measure

The order never changes, only lengths do. Each round goes on from the network that the last one cut. The curve
is free of training: units are removed in order of their score, and every step is measured on all of
validation, on a network that is cut further and further. Where a method ranks single weights, they are set to zero
instead. How a network is trained and ranked stands in course.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import torch

from pipeline.model.anatomy import Anatomy
from pipeline.model.source import save_weights
from pipeline.study.provenance import provenance
from pipeline.study.records import Array, HistoryRow, Measurement, Point, Rung, TrialRecord
from pipeline.study.store import NO_SPACE, RECOVERED, WEIGHTS, ObjectStoreLost, before_cut, save_record, sent
from pipeline.task.batches import Split
from pipeline.trial import checkpoint as resume
from pipeline.trial.curve import Ranking
from pipeline.trial.inputs import Tell, TrialInputs, TrialJob
from pipeline.trial.measure import Evaluation, count_zeroed, measure
from pipeline.trial.run import TrialRun
from pipeline.trial.rungs import RUNG_STEPS, part_of, rung_of, rung_steps
from pipeline.trial.training.loop import AtChance, LoopState, TrainingFailed
from pipeline.trial.training.phases import Phase

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CURVE_STEPS = 32
PARTS_AFTER_OOM = 4  # of a batch; a step's activations are most of what a small encoder needs


TellRung = Callable[[Rung], None]


def run_trial(
    inputs: TrialInputs, job: TrialJob, tell: Tell, tell_rung: TellRung | None = None
) -> TrialRecord:
    """Runs a trial to its end, from its last checkpoint if there is one.

    `tell` hears of every epoch, `tell_rung` of every rung of the job: whoever wants to end the trial there raises
    an error in it, and finds its record so far in its own attempt's folder. A trial whose loss is no number or
    diverges comes back as failed, with its reason; other errors are raised. One that runs out of a GPU's memory is
    tried once more with its batches in parts (`batch_parts` in its provenance), from its last checkpoint.
    """
    try:
        return _recorded(_Trial(inputs, job, tell, tell_rung))
    except torch.OutOfMemoryError:
        pass  # left first: its frames hold the network that did not fit
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return _recorded(_Trial(inputs, job, tell, tell_rung, parts=PARTS_AFTER_OOM))


def _recorded(trial: _Trial) -> TrialRecord:
    try:
        trial.run()
    except TrainingFailed as failure:
        return replace(trial.record(), state="failed", reason=str(failure))
    return trial.record()


@final
class _Trial(TrialRun):
    """A course that measures, and keeps what it found."""

    def __init__(
        self, inputs: TrialInputs, job: TrialJob, tell: Tell, tell_rung: TellRung | None, *, parts: int = 1
    ) -> None:
        super().__init__(inputs, job, tell, parts=parts)
        self.tell_rung = tell_rung
        self.rung_steps = {} if tell_rung is None else rung_steps(self.phases, job.rungs)
        self.rungs: list[Rung] = []
        self.started = time.monotonic()
        self.last_checkpoint = self.last_beat = self.started
        self.points: list[Point] = []
        self.history: list[HistoryRow] = []
        self.reason = ""
        self.seconds_before = 0.0
        self.resumed_at: float | None = None  # epochs that an earlier attempt had trained

    def take_up(self) -> int:
        """Goes back to the last checkpoint: points, history and cuts; its phase, whose loop does the rest."""
        checkpoint = resume.load(list(self.job.attempts))
        if checkpoint is None or not self._recall(checkpoint.phase):
            return 0
        before = checkpoint.so_far
        self.points, self.history = list(before.points), list(before.history)
        self.rungs = list(before.rungs)
        self.seconds_before = before.seconds
        self.resumed = checkpoint.loop
        step = self.phases[checkpoint.phase].first + checkpoint.loop.step
        self.resumed_at = step / self.per_epoch
        if checkpoint.masks is not None:
            self.cut(checkpoint.masks)
        if self.phases[checkpoint.phase].name == "recover":
            self.projected = self.anatomy.costs.compression(self.anatomy.present)
        return checkpoint.phase

    def remember(self) -> Array | None:
        """Keeps a snapshot that later steps learn from beside the checkpoints: they are nothing without it."""
        features = super().remember()
        if features is not None and self.job.attempts:
            try:
                resume.save_snapshot(self.job.attempts[-1], self.phase.round, features)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                self.reason = "checkpoints not kept: the disk was full"
                self.last_checkpoint = math.inf
        return features

    def _recall(self, phase: int) -> bool:
        """Whether all snapshots of the rounds before a phase are there, which are then learned from."""
        if self.teaching is None or not self.teaching.takes_snapshots():
            return True
        found = [resume.load_snapshot(list(self.job.attempts), round_) for round_ in range(phase)]
        features = [each for each in found if each is not None]
        if len(features) < len(found):
            return False
        for each in features:
            self.teaching.remember(each)
        return True

    def after_tuning(self, phase: Phase) -> bool:
        """Ranks the units, measures every step of their removal, and cuts the network at the chosen one."""
        ranking = self.rank()
        self._keep(before_cut(phase.round), ranking)
        chosen = self.choose(ranking)
        steps = ranking.steps(most=CURVE_STEPS, include=chosen)
        for step, evaluation, measured in ranking.walk(self.model, steps, self._examine):
            if not step.removed:
                self._complete_history(evaluation)
            predictions = evaluation.predictions
            self.points.append(Point("curve", phase.round, step.threshold, measured, step.masks, predictions))
        self.take(ranking, chosen)
        if phase.round + 1 == self.rounds:
            self.projected = chosen.compression
        return True

    def recover(self, phase: Phase) -> None:
        """Trains on without the method, and measures what came of it."""
        found: dict[str, Any] = {}
        if phase.steps:
            try:
                self.train(phase)
            except AtChance as remark:
                self.reason = str(remark)
            self._keep(RECOVERED)
            evaluation, measured = self._examine(self.model, self.anatomy)
            self._complete_history(evaluation)
            found = {"measurement": measured, "predictions": evaluation.predictions}
        self.points.append(replace(self._cut_point(), kind="recovered", **found))

    def _cut_point(self) -> Point:
        """The cut network's on the curve: it has the same units, and as many zeros; recovery changes neither."""
        masks = self.anatomy.present
        found = [p for p in self.points if p.round == self.phase.round and p.masks.same(masks)]
        now = count_zeroed(self.anatomy) / self.anatomy.costs.encoder if self.inputs.zeroes else 0.0
        return min(found, key=lambda p: abs(p.measurement.sparsity - now))

    def epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Listener: an epoch ended. Where a phase ends, what follows measures the metric anyway."""
        if round(epoch * self.per_epoch) < self.phase.end:
            values = values | _validation(self.evaluate(self.model))
        self.history.append(HistoryRow(self.phase.name, self.phase.round, epoch, values))
        super().epoch(epoch, values)

    def step(self, state: Callable[[], LoopState]) -> None:
        """Listener: a step ended. There may be a rung; `beat_s` and `checkpoint_s` say what else is due."""
        rung = self.rung_steps.get(self.position)
        if rung is not None and self.tell_rung is not None:
            self._show(rung, self.tell_rung)
        now = time.monotonic()
        if now - self.last_beat >= self.job.beat_s:
            self.last_beat, loss = now, self.recent_loss
            self.tell_where(self.position / self.per_epoch, {} if loss is None else {"train_loss": loss})
        if now - self.last_checkpoint >= self.job.checkpoint_s:
            checkpoint = resume.Checkpoint(self.index, state(), self.masks, self.record())
            try:
                resume.save(self.job.attempts[-1], checkpoint)
            except ObjectStoreLost:  # it lies on this machine; the next one is sent, too
                pass
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                self.reason = "checkpoints not kept: the disk was full"  # an older one is there, or none
            self.last_checkpoint = time.monotonic()

    def _show(self, index: int, tell_rung: TellRung) -> None:
        """Tells what the trial would give if it ended here, and leaves its record so far in case that it does."""
        if any(rung.index == index for rung in self.rungs):
            return
        self.epochs = self.position / self.per_epoch
        with self.whole():
            self.rungs.append(self._look(index))
        save_record(self.job.attempts[-1], replace(self.record(), state="stopped", points=()))
        tell_rung(self.rungs[-1])

    def _look(self, index: int) -> Rung:
        """What the trial would give; a trial in recovery: what it has found, and the network that it has cut."""
        rows = part_of(self.inputs.data.validation)

        def examine(model: PreTrainedModel, anatomy: Anatomy) -> tuple[Evaluation, Measurement]:
            return self._examine(model, anatomy, rows)

        if self.phase.name == "recover":
            found = [point.measurement for point in self.points] + [examine(self.model, self.anatomy)[1]]
        else:
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                copy = self.copied()
                ranking = copy.rank()
                self.projected = copy.choose_at_last(ranking).compression
                steps = ranking.steps(most=RUNG_STEPS)
                found = [measured for *_, measured in ranking.walk(copy.model, steps, examine)]
        return rung_of(index, self.epochs, found, rows=len(rows))

    def _keep(self, name: str, ranking: Ranking | None = None) -> None:
        """Writes the network's weights; a trial that cannot is worth no less: they can be made again."""
        if not self.job.keep_weights:
            return
        try:
            path = self.job.attempts[-1] / WEIGHTS / f"{name}.safetensors"
            save_weights(self.model, path, scores={} if ranking is None else ranking.tensors)
            sent(path)
        except OSError as error:
            self.reason = f"weights not kept: {error.strerror or error}"

    def _examine(
        self, model: PreTrainedModel, anatomy: Anatomy, rows: Split | None = None
    ) -> tuple[Evaluation, Measurement]:
        """What a network is worth on validation, or some rows of it, and what it costs."""
        evaluation, inputs = self.evaluate(model, rows), self.inputs
        return evaluation, measure(
            model,
            anatomy,
            evaluation,
            length=inputs.length,
            count_zeros=inputs.zeroes,
            latency=inputs.latency,
        )

    def _complete_history(self, evaluation: Evaluation) -> None:
        """Adds what was measured right after a phase to its last row, if it has one."""
        row = self.history[-1] if self.history else None
        if row is not None and row.phase == self.phase.name and "metric" not in row.values:
            self.history[-1] = replace(row, values=row.values | _validation(evaluation))

    def record(self) -> TrialRecord:
        """All that was found so far."""
        return TrialRecord(
            number=self.job.number,
            state="complete",
            reason=self.reason,
            params=self.params,
            seed=self.job.seed,
            points=tuple(self.points),
            history=tuple(self.history),
            epochs=self.epochs,
            seconds=self.seconds_before + time.monotonic() - self.started,
            attempts=len(self.job.attempts),
            provenance=provenance() | self._setting(),
            rungs=tuple(self.rungs),
        )

    def _setting(self) -> dict[str, str]:
        cuda = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        parts = {} if self.recipe.parts == 1 else {"batch_parts": str(self.recipe.parts)}
        if self.recipe.checkpointing:
            parts |= {"activation_checkpointing": "on"}
        if self.compiling is not None:
            parts |= self.compiling.facts()
        if self.resumed_at is not None:
            parts |= {"resumed_at_epoch": f"{self.resumed_at:.4g}"}
        if self.teaching is not None:
            parts |= {"distill": self.inputs.distill}
        return parts | {
            "device": name,
            "precision": self.recipe.precision,
            "threads": str(torch.get_num_threads()),
        }


def _validation(evaluation: Evaluation) -> dict[str, float]:
    return {"validation_loss": evaluation.loss, "metric": evaluation.metrics["metric"]}
