"""What every run of a trial shares: where it starts, its phases, how its network is trained, ranked and cut."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import torch
from torch import nn

from pipeline.methods.base import PruningMethod, Run
from pipeline.methods.registry import METHODS
from pipeline.model.source import ModelSource, Weights, build
from pipeline.model.surgery import cut
from pipeline.model.unstructured import holding_zeros, matrices
from pipeline.study.records import Array, Masks, Params, ParamValue, Scores
from pipeline.task.batches import Split
from pipeline.trial.curve import Ranking, UnitRanking, WeightRanking
from pipeline.trial.curve.allocation import Step, removal_order
from pipeline.trial.distillation import DISTILLATIONS, NONE, Distillation, DistillationInputs, see
from pipeline.trial.inputs import Tell, TrialInputs, TrialJob
from pipeline.trial.measure import Evaluation, evaluate
from pipeline.trial.training.compilation import OFF, Compiling
from pipeline.trial.training.loop import Loop, LoopState
from pipeline.trial.training.phases import Phase, phases, steps_per_epoch
from pipeline.trial.training.precision import multiplying, resolve_precision
from pipeline.trial.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALIBRATION_BATCH = 64


Made = TypeVar("Made")


class TrialRun(ABC):
    """(tune, then what follows it) × rounds, recover: a trial's training, and a listener to its loop.

    What is done at the end of a round and in the recovery is left to those who run it: a trial scores, measures
    and cuts (trial.py), a rerun only cuts (rerun.py).
    """

    def __init__(self, inputs: TrialInputs, job: TrialJob, tell: Tell, *, parts: int = 1) -> None:
        self.inputs, self.job, self.tell, self.params = inputs, job, tell, job.params
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.rounds = int(self.params["rounds"])
        self.recipe = Recipe(
            learning_rate=float(self.params["learning_rate"]),
            batch_size=int(self.params["batch_size"]),
            warmup_fraction=float(self.params["warmup_fraction"]),
            weight_decay=float(self.params["weight_decay"]),
            precision=resolve_precision(inputs.precision, self.device),
            regression=inputs.regression,
            parts=parts,
            checkpointing=inputs.checkpointing,
        )
        self.phases = phases(self.params, train_rows=len(inputs.data.train), seed=job.seed)
        self.per_epoch = steps_per_epoch(len(inputs.data.train), self.recipe.batch_size)
        self.epochs = 0.0
        self.index = 0  # of the phase at hand
        self.compiling = None if inputs.compile == OFF else Compiling()
        self._loop: Loop | None = None  # that trains the phase at hand
        self.resumed: LoopState | None = None  # where the first phase goes on; None once it is taken up
        self.masks: Masks | None = None
        self.teaching: Distillation | None = None  # what is learned beside the labels
        self.projected = _number(self.params.get("target"))  # compression it is to end with, if that is known

    def run(self) -> None:
        """The course from its start, or from where `take_up` says, to its end."""
        torch.manual_seed(self.job.seed)
        self.model, self.anatomy = build(self._start(), seed=self.job.seed)
        nn.Module.to(self.model, self.device)
        self.method = make_method(self.inputs.method, self.params, self.inputs.fitted)
        self.teaching = self._teaching()
        for index in range(self.take_up(), len(self.phases)):
            self.index = index
            if self.phase.name == "recover":
                self.recover(self.phase)
                return
            self.train(self.phase)
            self.remember()
            if not self.after_tuning(self.phase):
                return

    @abstractmethod
    def after_tuning(self, phase: Phase) -> bool:
        """What follows the tuning of a round; whether the course goes on."""

    @abstractmethod
    def recover(self, phase: Phase) -> None:
        """What follows the last cut."""

    def take_up(self) -> int:
        """The phase to begin with."""
        return 0

    def epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Listener: an epoch ended."""
        self.tell_where(epoch, {name: values[name] for name in ("train_loss", "metric") if name in values})

    def tell_where(self, epoch: float, seen: dict[str, float]) -> None:
        """How far it is, what was seen last, and the compression that is to be expected."""
        projected = {} if self.projected is None else {"projected": self.projected}
        self.tell({"epoch": epoch, "epochs": self.phases[-1].end / self.per_epoch} | projected | seen)

    @property
    def recent_loss(self) -> float | None:
        """The mean task loss of the last steps that were looked at; reading it costs nothing."""
        return None if self._loop is None else self._loop.recent_loss

    def step(self, state: Callable[[], LoopState]) -> None:
        """Listener: a step ended. Nothing is kept of it here."""
        del state

    def remember(self) -> Array | None:
        """A round's tuning has ended: what the network makes of the training rows, if later steps learn from it."""
        later = any(each.steps for each in self.phases[self.index + 1 :])
        if self.teaching is None or not self.teaching.takes_snapshots() or not later:
            return None
        features = see(self.model, self.inputs.data.train, precision=self.recipe.precision).features
        self.teaching.remember(features)
        return features

    @property
    def phase(self) -> Phase:
        """The phase at hand."""
        return self.phases[self.index]

    @property
    def position(self) -> int:
        """The step of the course's stream of batches that training has come to."""
        return self.phase.first + (self._loop.done if self._loop is not None else 0)

    def whole(self) -> AbstractContextManager[None]:
        """Between two steps of training: within it the network may be evaluated and copied."""
        return nullcontext() if self._loop is None else self._loop.whole()

    def train(self, phase: Phase) -> None:
        """Trains one phase; a method watches the tuning. What is zero by then stays zero."""
        tuning, first = phase.name == "tune", phase.name == "tune" and phase.round == 0
        if phase.steps and not first and self.resumed is None and self.params.get("rewind", False):
            self._rewind()
        loop = Loop(
            model=self.model,
            anatomy=self.anatomy,
            train=self.inputs.data.train,
            phase=phase,
            recipe=self.recipe,
            listener=self,
            method=self.method if tuning else None,
            run=self._method_run() if tuning else None,
            teaching=self.teaching,
            holding=partial(holding_zeros, self.anatomy) if self.inputs.zeroes and not first else None,
            compiling=self.compiling if first else None,  # a cut network would be compiled anew
        )
        start, self.resumed, self._loop = self.resumed, None, loop
        try:
            loop.fit(start)
        finally:
            self.epochs = (phase.first + loop.done) / self.per_epoch

    def rank(self) -> Ranking:
        """The units, or the single weights, by what the method thinks of them now."""
        batches = self.inputs.data.calibration.in_length_order(CALIBRATION_BATCH)
        with multiplying(self.device, self.recipe.precision):
            scores = self.method.score(self.model, self.anatomy, batches)
        if not isinstance(scores, Scores):
            return WeightRanking(scores, self.anatomy)
        order = removal_order(
            scores,
            self.anatomy,
            score_per_parameter=bool(self.params["score_per_parameter"]),
            min_attention_blocks=int(self.params["min_attention_blocks"]),
        )
        return UnitRanking(order, self.anatomy)

    def choose(self, ranking: Ranking) -> Step:
        """What this round keeps."""
        return ranking.choose(
            threshold=_number(self.params.get("threshold")),
            target=_number(self.params.get("target")),
            rounds_left=self.rounds - self.phase.round,
        )

    def choose_at_last(self, ranking: Ranking) -> Step:
        """What would be kept if this round were the last."""
        return ranking.choose(
            threshold=_number(self.params.get("threshold")),
            target=_number(self.params.get("target")),
            rounds_left=1,
        )

    def take(self, ranking: Ranking, step: Step) -> None:
        """Leaves only what a step keeps."""
        self.masks = step.masks
        self.anatomy = ranking.take(self.model, step)

    def cut(self, masks: Masks) -> None:
        """Leaves only the units that `masks` keep."""
        self.masks = masks
        self.anatomy = cut(self.model, self.anatomy, masks)

    def copied(self) -> Self:
        """This course with a copy of its network as the forward pass is now, apart from the one in training.

        A fresh method takes up the state of the one at work, as when a course goes on from a checkpoint; what its
        hooks do to weights is baked into the copy. It draws random numbers.
        """
        other = copy.copy(self)
        other.model, other.anatomy = build(self._start(), seed=self.job.seed)
        nn.Module.to(other.model, self.device)
        if self.masks is not None:
            other.cut(self.masks)
        other.method = make_method(self.inputs.method, self.params, self.inputs.fitted)
        other.method.load(self.method.state())
        optimizer = torch.optim.SGD(other.model.parameters(), lr=0.0)
        with other.method.watch(other.model, other.anatomy, optimizer, self._method_run()):
            other.model.load_state_dict(self.model.state_dict())
        nn.Module.eval(other.model)
        return other

    def evaluate(self, model: PreTrainedModel, rows: Split | None = None) -> Evaluation:
        """What a network is worth on validation, or on some rows of it."""
        return evaluate(
            model,
            self.inputs.data.validation if rows is None else rows,
            metric_name=self.inputs.metric_name,
            regression=self.inputs.regression,
            precision=self.recipe.precision,
        )

    def _teaching(self) -> Distillation | None:
        """What is learned beside the labels, in all phases."""
        inputs = self.inputs
        if inputs.distill == NONE:
            return None
        if inputs.teacher is None:
            raise ValueError("A trial that distils is given what its teacher says; there is nothing.")
        teaching = _made_from(DISTILLATIONS[inputs.distill], self.params)
        labels = inputs.data.train.labels
        teaching.bind(
            DistillationInputs(inputs.teacher, labels, inputs.regression, self.device, self.job.seed)
        )
        return teaching

    def _rewind(self) -> None:
        """What is left goes back to what it was when the trial began (arXiv 1803.03635); zeros stay."""
        other, anatomy = build(self._start(), seed=self.job.seed)
        nn.Module.to(other, self.device)
        anatomy = cut(other, anatomy, self.anatomy.present)
        with torch.no_grad():
            if self.inputs.zeroes:
                now = matrices(self.anatomy)
                for name, weight in matrices(anatomy).items():
                    weight.mul_(now[name] != 0)
            self.model.load_state_dict(other.state_dict())

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

    def _method_run(self) -> Run:
        return Run(
            total_steps=sum(phase.steps for phase in self.phases if phase.name == "tune"),
            train_rows=len(self.inputs.data.train),
            target=_number(self.params.get("target")),
            generator=torch.Generator().manual_seed(self.job.seed),
            threshold=_number(self.params.get("threshold")),
        )


def make_method(name: str, params: Params, fitted: Weights | None = None) -> PruningMethod:
    """A fresh instance from those parameters that are its fields, with what was fitted to its base model."""
    method = _made_from(METHODS[name], params)
    if fitted is not None:
        method.equip(fitted)
    return method


def _made_from(kind: Callable[..., Made], params: Params) -> Made:
    names = {field.name for field in fields(kind) if field.init}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in params.items() if key in names})


def _number(value: ParamValue | None) -> float | None:
    return None if value is None else float(value)
