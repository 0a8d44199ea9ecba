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
from pipeline.batches import TaskData
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
from pipeline.models import ModelSource, Weights, build, save_weights
from pipeline.phases import Phase, phases, steps_per_epoch
from pipeline.provenance import provenance
from pipeline.records import HistoryRow, Kind, Masks, Measurement, Params, ParamValue, Point, TrialRecord
from pipeline.store import RECOVERED, WEIGHTS, LatencyTable, before_cut
from pipeline.surgery import cut

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALIBRATION_BATCH = 64
CURVE_STEPS = 32
PARTS_AFTER_OOM = 4  # of a batch; a step's activations are most of what a small encoder needs


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
    dense: Weights | None = None  # of the study's dense network, where a trial may need them
    count_zeros: bool = False  # of single weights: the objective is sparsity
    latency: LatencyTable | None = None


@dataclass(frozen=True)
class TrialJob:
    """One trial to run: the last of `attempts` is its own folder, the others are read for a checkpoint."""

    number: int
    params: Params
    seed: int
    attempts: tuple[Path, ...]
    checkpoint_s: float = 60.0  # seconds between checkpoints
    keep_weights: bool = True  # those before each cut and the recovered ones, in the attempt's folder


Tell = Callable[[dict[str, float]], None]


def run_trial(inputs: TrialInputs, job: TrialJob, tell: Tell) -> TrialRecord:
    """Runs a trial to its end, from its last checkpoint if there is one.

    `tell` hears of every epoch. A trial whose loss is no number or diverges comes back as failed, with its
    reason; other errors are raised. One that runs out of a GPU's memory is tried once more with its batches in
    parts (`batch_parts` in its provenance), from its last checkpoint.
    """
    try:
        return _recorded(_Trial(inputs, job, tell))
    except torch.OutOfMemoryError:
        pass  # left first: its frames hold the network that did not fit
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return _recorded(_Trial(inputs, job, tell, parts=PARTS_AFTER_OOM))


def _recorded(trial: _Trial) -> TrialRecord:
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
        parts: int = 1,
    ) -> None:
        self.inputs, self.job, self.tell, self.replay, self.goal = inputs, job, tell, replay, goal
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
            parts=parts,
        )
        self.phases = phases(self.params, train_rows=len(inputs.data.train), seed=job.seed)
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
        self.model, self.anatomy = build(self._start(), seed=self.job.seed)
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

    def _start(self) -> ModelSource:
        """The model as it came, or fine-tuned."""
        source, dense = self.inputs.source, self.inputs.dense
        if not self.params.get("start_dense", False):
            return source
        if dense is None:
            raise ValueError(
                "A trial that starts dense is given the dense network's weights; there are none."
            )
        return replace(source, weights=dense)

    def _take_up(self) -> int:
        """Goes back to the last checkpoint: points, history and cuts; its phase, whose loop does the rest."""
        if self.checkpoint is None:
            return 0
        before = self.checkpoint.so_far
        self.points, self.history = list(before.points), list(before.history)
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
        start, self.checkpoint = self.checkpoint, None
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
        """Listener: a step ended. A checkpoint is due every `checkpoint_s` seconds."""
        if time.monotonic() - self.last_checkpoint >= self.job.checkpoint_s:
            checkpoint = resume.Checkpoint(self.index, state(), self.masks, self.record())
            resume.save(self.job.attempts[-1], checkpoint)
            self.last_checkpoint = time.monotonic()

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

    def _examine(self, model: PreTrainedModel, anatomy: Anatomy) -> tuple[Evaluation, Measurement]:
        """What a network is worth on validation, and what it costs."""
        evaluation, inputs = self._evaluate(model), self.inputs
        return evaluation, measure(
            model,
            anatomy,
            evaluation,
            length=inputs.length,
            count_zeros=inputs.count_zeros,
            latency=inputs.latency,
        )

    def _evaluate(self, model: PreTrainedModel) -> Evaluation:
        return evaluate(
            model,
            self.inputs.data.validation,
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
        )

    def _setting(self) -> dict[str, str]:
        cuda = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        parts = {} if self.recipe.parts == 1 else {"batch_parts": str(self.recipe.parts)}
        return parts | {
            "device": name,
            "precision": self.recipe.precision,
            "threads": str(torch.get_num_threads()),
        }


def make_method(name: str, params: Params) -> PruningMethod:
    """A fresh instance from those parameters that are its fields."""
    method = METHODS[name]
    names = {field.name for field in fields(method) if field.init}  # type: ignore[arg-type]
    return method(**{key: value for key, value in params.items() if key in names})


def _number(value: ParamValue | None) -> float | None:
    return None if value is None else float(value)


def _validation(evaluation: Evaluation) -> dict[str, float]:
    return {"validation_loss": evaluation.loss, "metric": evaluation.metrics["metric"]}
