"""One trial from its parameters to its record, read top to bottom as one story.

    (tune – score – curve – choose – cut) × rounds – recover – measure

The order never changes, only lengths do. Each round goes on from the network that the last one cut. The curve
is free of training: units are removed in order of their score, and every step is measured on all of
validation, on a network that is cut further and further.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch

from pipeline import resume
from pipeline.allocation import Removal, Step, choose, curve_steps, removal_order
from pipeline.anatomy import Anatomy
from pipeline.batches import Split, TaskData
from pipeline.curve import choose_in_rounds, walk
from pipeline.finetune import (
    AtChance,
    Loop,
    LoopState,
    Recipe,
    TrainingFailed,
    resolve_precision,
)
from pipeline.measure import Evaluation, evaluate, measure
from pipeline.methods import METHODS, PruningMethod, Run
from pipeline.models import ModelSource, build, save_weights
from pipeline.phases import Phase, phases, steps_per_epoch
from pipeline.provenance import provenance
from pipeline.records import HistoryRow, Kind, Masks, Measurement, Params, ParamValue, Point, Rung, TrialRecord
from pipeline.rungs import curve_at, part_of, rung_of, rung_steps, scored_copy
from pipeline.store import NO_SPACE, RECOVERED, WEIGHTS, before_cut, save_record
from pipeline.surgery import cut

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALIBRATION_BATCH = 64
CURVE_STEPS = 32


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a study share, through Ray's object store: nothing else is read from anywhere."""

    method: str
    metric_name: str
    regression: bool
    precision: str  # auto, bf16 or fp32
    length: int  # tokens of a row for MACs: the longest of validation
    source: ModelSource
    data: TaskData
    count_zeros: bool = False  # of single weights: the objective is sparsity


@dataclass(frozen=True)
class TrialJob:
    """One trial to run: the last of `attempts` is its own folder, the others are read for a checkpoint."""

    number: int
    params: Params
    seed: int
    attempts: tuple[Path, ...]
    checkpoint_s: float = 60.0  # seconds between checkpoints
    keep_weights: bool = True  # those before each cut and the recovered ones, in the attempt's folder
    rungs: tuple[float, ...] = ()  # parts of its training after which it shows what it would give


Tell = Callable[[dict[str, float]], None]
TellRung = Callable[[Rung], None]


def run_trial(
    inputs: TrialInputs, job: TrialJob, tell: Tell, tell_rung: TellRung | None = None
) -> TrialRecord:
    """Runs a trial to its end, from its last checkpoint if there is one.

    `tell` hears of every epoch, `tell_rung` of every rung of the job: whoever wants to end the trial there raises
    an error in it, and finds its record so far in its own attempt's folder. A trial whose loss is no number or
    diverges comes back as failed, with its reason; other errors are raised.
    """
    trial = _Trial(inputs, job, tell, tell_rung=tell_rung)
    try:
        trial.run()
    except TrainingFailed as failure:
        return replace(trial.record(), state="failed", reason=str(failure))
    return trial.record()


def replay_trial(
    inputs: TrialInputs, job: TrialJob, tell: Tell, *, cuts: tuple[Masks, ...]
) -> PreTrainedModel:
    """The network of a trial that has been run before, trained again: on one kind of CPU the same, bit for bit.

    `cuts` is what each round's cut left; they are imposed, nothing is scored or measured. It ends before the
    cut of the first round without one, or, if all have one, after the recovery.

    Raises:
        TrainingFailed: the loss is no number, or diverged.
    """
    trial = _Trial(inputs, job, tell, cuts)
    trial.run()
    return trial.model


@dataclass(frozen=True)
class Goal:
    """The point of a trial that a trial of the same parameters and another seed comes to.

    A curve point is cut in its round, at its threshold or, where the space has a target, at its compression, and is
    not recovered; a recovered one goes the whole way.
    """

    kind: Kind
    round: int
    threshold: float
    compression: float


@dataclass(frozen=True, eq=False)
class Repeated:
    """What a trial came to that was run again on another seed."""

    model: PreTrainedModel
    anatomy: Anatomy
    epochs: float
    remark: str


def repeat_trial(inputs: TrialInputs, job: TrialJob, tell: Tell, *, goal: Goal) -> Repeated:
    """Tunes, scores, cuts and recovers as a trial that was run before, on the job's seed; measures no curve.

    Raises:
        TrainingFailed: the loss is no number, or diverged.
    """
    trial = _Trial(inputs, job, tell, goal=goal)
    trial.run()
    return Repeated(trial.model, trial.anatomy, trial.epochs, trial.reason)


@final
class _Trial:
    """The state of a trial while it runs."""

    def __init__(
        self,
        inputs: TrialInputs,
        job: TrialJob,
        tell: Tell,
        replay: tuple[Masks, ...] | None = None,
        goal: Goal | None = None,
        tell_rung: TellRung | None = None,
    ) -> None:
        self.inputs, self.job, self.tell, self.replay, self.goal = inputs, job, tell, replay, goal
        self.tell_rung = tell_rung
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.params = job.params
        self.rounds = int(self.params["rounds"])
        self.recipe = Recipe(
            learning_rate=float(self.params["learning_rate"]),
            batch_size=int(self.params["batch_size"]),
            warmup_fraction=float(self.params["warmup_fraction"]),
            weight_decay=float(self.params["weight_decay"]),
            precision=resolve_precision(inputs.precision, self.device),
            regression=inputs.regression,
        )
        self.phases = phases(self.params, train_rows=len(inputs.data.train), seed=job.seed)
        self.rung_steps = {} if tell_rung is None else rung_steps(self.phases, job.rungs)
        self.rungs: list[Rung] = []
        self.started = time.monotonic()
        self.last_checkpoint = self.started
        self.points: list[Point] = []
        self.history: list[HistoryRow] = []
        self.reason = ""
        self.masks: Masks | None = None
        self.seconds_before = 0.0
        self.epochs = 0.0
        self.per_epoch = steps_per_epoch(len(inputs.data.train), self.recipe.batch_size)
        self.checkpoint = resume.load(list(job.attempts))  # None once it is taken up

    def run(self) -> None:
        """The story."""
        torch.manual_seed(self.job.seed)
        self.model, self.anatomy = build(self.inputs.source, seed=self.job.seed)
        self.model.to(self.device)  # type: ignore[arg-type]
        self.method = make_method(self.inputs.method, self.params)
        first = self._take_up()
        for index in range(first, len(self.phases)):
            self.index, self.phase = index, self.phases[index]
            if self.phase.name == "recover":
                self._recover(self.phase)
                return
            self._train(self.phase)
            if self.goal is not None:
                if self._cut_towards(self.goal):
                    return
            elif self.replay is None:
                self._curve_and_cut(self.phase)
            elif self.phase.round < len(self.replay):
                self._cut(self.replay[self.phase.round])
            else:
                return

    def _take_up(self) -> int:
        """Goes back to the last checkpoint: points, history and cuts; its phase, whose loop does the rest."""
        if self.checkpoint is None:
            return 0
        before = self.checkpoint.so_far
        self.points, self.history = list(before.points), list(before.history)
        self.rungs = list(before.rungs)
        self.seconds_before = before.seconds
        if self.checkpoint.masks is not None:
            self._cut(self.checkpoint.masks)
        return self.checkpoint.phase

    def _cut(self, masks: Masks) -> None:
        self.masks = masks
        self.anatomy = cut(self.model, self.anatomy, masks)

    def _keep(self, name: str) -> None:
        """Writes the network's weights; a trial that cannot is worth no less: they can be made again."""
        if not self.job.keep_weights:
            return
        try:
            save_weights(self.model, self.job.attempts[-1] / WEIGHTS / f"{name}.safetensors")
        except OSError as error:
            self.reason = f"weights not kept: {error.strerror or error}"

    def _train(self, phase: Phase) -> None:
        """Trains one phase; a method watches the tuning."""
        tuning = phase.name == "tune"
        loop = Loop(
            model=self.model,
            anatomy=self.anatomy,
            train=self.inputs.data.train,
            phase=phase,
            recipe=self.recipe,
            listener=self,
            method=self.method if tuning else None,
            run=self._method_run() if tuning else None,
        )
        start, self.checkpoint, self.loop = self.checkpoint, None, loop
        try:
            loop.fit(None if start is None else start.loop)
        finally:
            self.epochs = (phase.first + loop.done) / self.per_epoch

    def _method_run(self) -> Run:
        return Run(
            total_steps=sum(phase.steps for phase in self.phases if phase.name == "tune"),
            train_rows=len(self.inputs.data.train),
            target=_number(self.params.get("target")),
            generator=torch.Generator().manual_seed(self.job.seed),
            threshold=_number(self.params.get("threshold")),
        )

    def epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Listener: an epoch ended. Where a phase ends, what follows measures the metric anyway."""
        if round(epoch * self.per_epoch) < self.phase.end:
            values = values | _validation(self._evaluate(self.model))
        self.history.append(HistoryRow(self.phase.name, self.phase.round, epoch, values))
        seen = {name: values[name] for name in ("train_loss", "metric") if name in values}
        self.tell({"epoch": epoch, "epochs": self.phases[-1].end / self.per_epoch} | seen)

    def step(self, state: Callable[[], LoopState]) -> None:
        """Listener: a step ended. There may be a rung; a checkpoint is due every `checkpoint_s` seconds."""
        rung = self.rung_steps.get(self.phase.first + self.loop.done)
        if rung is not None:
            self._show(rung)
        if time.monotonic() - self.last_checkpoint >= self.job.checkpoint_s:
            checkpoint = resume.Checkpoint(self.index, state(), self.masks, self.record())
            try:
                resume.save(self.job.attempts[-1], checkpoint)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                self.reason = "checkpoints not kept: the disk was full"  # an older one is there, or none
            self.last_checkpoint = time.monotonic()

    def _show(self, index: int) -> None:
        """Tells what the trial would give if it ended here, and leaves its record so far in case that it does."""
        if self.tell_rung is None or any(rung.index == index for rung in self.rungs):
            return
        self.epochs = (self.phase.first + self.loop.done) / self.per_epoch
        rung = self._look(index)
        self.rungs.append(rung)
        save_record(self.job.attempts[-1], replace(self.record(), state="stopped", points=()))
        self.tell_rung(rung)

    def _look(self, index: int) -> Rung:
        rows = part_of(self.inputs.data.validation)

        def examine(model: PreTrainedModel, anatomy: Anatomy) -> tuple[Evaluation, Measurement]:
            return self._examine(model, anatomy, rows)

        if self.phase.name == "recover":  # what it has found already, and the network that it has cut
            found = [point.measurement for point in self.points] + [examine(self.model, self.anatomy)[1]]
            return rung_of(index, self.epochs, found, rows=len(rows), zeros=self.inputs.count_zeros)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            fresh = make_method(self.inputs.method, self.params)
            model, anatomy = scored_copy(
                self.model, self._rebuild, method=self.method, fresh=fresh, run=self._method_run()
            )
            return curve_at(
                index,
                self.epochs,
                model=model,
                anatomy=anatomy,
                method=fresh,
                calibration=self.inputs.data.calibration.in_length_order(CALIBRATION_BATCH),
                params=self.params,
                examine=examine,
                rows=len(rows),
                zeros=self.inputs.count_zeros,
            )

    def _rebuild(self) -> tuple[PreTrainedModel, Anatomy]:
        """A network of the trial's kind, cut as far as the trial's is."""
        model, anatomy = build(self.inputs.source, seed=self.job.seed)
        model.to(self.device)  # type: ignore[arg-type]
        return model, anatomy if self.masks is None else cut(model, anatomy, self.masks)

    def _curve_and_cut(self, phase: Phase) -> None:
        """Scores the units, measures every step of their removal, and cuts the network at the chosen one."""
        order = self._order()
        self._keep(before_cut(phase.round))
        chosen = self._choose(order)
        steps = curve_steps(order, self.anatomy, most=CURVE_STEPS, include=chosen.removed)
        for step, evaluation, measured in walk(self.model, self.anatomy, steps, self._examine):
            if not step.removed:
                self._complete_history(evaluation)
            predictions = evaluation.predictions
            self.points.append(Point("curve", phase.round, step.threshold, measured, step.masks, predictions))
        self._cut(chosen.masks)

    def _cut_towards(self, goal: Goal) -> bool:
        """Cuts without measuring a curve; True where the goal's network is reached."""
        order, there = self._order(), goal.kind == "curve" and goal.round == self.phase.round
        if not there:
            self._cut(self._choose(order).masks)
        elif "threshold" in self.params:
            self._cut(choose(order, self.anatomy, threshold=goal.threshold).masks)
        else:
            self._cut(choose(order, self.anatomy, target=goal.compression).masks)
        return there

    def _order(self) -> tuple[Removal, ...]:
        """The units by what the method thinks of them now."""
        batches = self.inputs.data.calibration.in_length_order(CALIBRATION_BATCH)
        return removal_order(
            self.method.score(self.model, self.anatomy, batches),
            self.anatomy,
            score_per_parameter=bool(self.params["score_per_parameter"]),
            min_attention_blocks=int(self.params["min_attention_blocks"]),
        )

    def _choose(self, order: tuple[Removal, ...]) -> Step:
        """What this round cuts."""
        return choose_in_rounds(
            order,
            self.anatomy,
            threshold=_number(self.params.get("threshold")),
            target=_number(self.params.get("target")),
            rounds_left=self.rounds - self.phase.round,
        )

    def _recover(self, phase: Phase) -> None:
        """Trains on without the method, and measures what came of it."""
        if self.goal is not None or self.replay is not None:
            try:
                self._train(phase)
            except AtChance as remark:
                self.reason = str(remark)
            return
        masks = self.anatomy.present
        point = next(
            p for p in reversed(self.points) if p.masks.same(masks)
        )  # the cut network's on the curve
        if phase.steps:
            try:
                self._train(phase)
            except AtChance as remark:
                self.reason = str(remark)
            self._keep(RECOVERED)
            evaluation, measured = self._examine(self.model, self.anatomy)
            self._complete_history(evaluation)
            point = replace(point, measurement=measured, predictions=evaluation.predictions)
        self.points.append(replace(point, kind="recovered"))

    def _examine(
        self, model: PreTrainedModel, anatomy: Anatomy, rows: Split | None = None
    ) -> tuple[Evaluation, Measurement]:
        """What a network is worth on validation, or some rows of it, and what it costs."""
        evaluation, inputs = self._evaluate(model, rows), self.inputs
        return evaluation, measure(
            model, anatomy, evaluation, length=inputs.length, count_zeros=inputs.count_zeros
        )

    def _evaluate(self, model: PreTrainedModel, rows: Split | None = None) -> Evaluation:
        return evaluate(
            model,
            self.inputs.data.validation if rows is None else rows,
            metric_name=self.inputs.metric_name,
            regression=self.inputs.regression,
            precision=self.recipe.precision,
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
        return {"device": name, "precision": self.recipe.precision, "threads": str(torch.get_num_threads())}


def make_method(name: str, params: Params) -> PruningMethod:
    """A fresh instance from those parameters that are its fields."""
    method = METHODS[name]
    names = {field.name for field in fields(method) if field.init}  # type: ignore[arg-type]
    return method(**{key: value for key, value in params.items() if key in names})


def _number(value: ParamValue | None) -> float | None:
    return None if value is None else float(value)


def _validation(evaluation: Evaluation) -> dict[str, float]:
    return {"validation_loss": evaluation.loss, "metric": evaluation.metrics["metric"]}
