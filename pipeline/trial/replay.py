"""A trial run again: as it went, to get its network back; or on a fresh seed, to see what its settings come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Kind, Masks
from pipeline.trial.inputs import Tell, TrialInputs, TrialJob
from pipeline.trial.run import TrialRun
from pipeline.trial.training.loop import AtChance
from pipeline.trial.training.phases import Phase

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Goal:
    """The point of a trial that a trial of the same parameters and another seed comes to.

    A curve point is cut in its round, at its threshold or, where the space has a target, at the share of the encoder
    that it lacks (its compression, or its sparsity), and is not recovered; a recovered one goes the whole way.
    """

    kind: Kind
    round: int
    threshold: float
    share: float


@dataclass(frozen=True, eq=False)
class Replayed:
    """The network of a trial, trained again; of one that ends before a cut, the scores of its single weights."""

    model: PreTrainedModel
    scores: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Repeated:
    """What a trial came to that was run again on another seed."""

    model: PreTrainedModel
    anatomy: Anatomy
    epochs: float
    remark: str


def replay_trial(inputs: TrialInputs, job: TrialJob, tell: Tell, *, cuts: tuple[Masks, ...]) -> Replayed:
    """The network of a trial that has been run before, trained again: on one kind of CPU the same, bit for bit.

    `cuts` is what each round's cut left; they are imposed, nothing is scored or measured. Which single weights went
    no record says: they are scored and chosen again. It ends before the cut of the first round without one, or, if
    all have one, after the recovery.

    Raises:
        TrainingFailed: the loss is no number, or diverged.
    """
    course = _Replay(inputs, job, tell, cuts)
    course.run()
    return Replayed(course.model, course.scores)


def repeat_trial(inputs: TrialInputs, job: TrialJob, tell: Tell, *, goal: Goal) -> Repeated:
    """Tunes, scores, cuts and recovers as a trial that was run before, on the job's seed; measures no curve.

    Raises:
        TrainingFailed: the loss is no number, or diverged.
    """
    course = _Repeat(inputs, job, tell, goal)
    course.run()
    return Repeated(course.model, course.anatomy, course.epochs, course.remark)


class _Rerun(TrialRun):
    """A course without measurements."""

    remark = ""

    def recover(self, phase: Phase) -> None:
        """Trains on without the method."""
        try:
            self.train(phase)
        except AtChance as remark:
            self.remark = str(remark)


@final
class _Replay(_Rerun):
    """Imposes the cuts that were made before."""

    def __init__(self, inputs: TrialInputs, job: TrialJob, tell: Tell, cuts: tuple[Masks, ...]) -> None:
        super().__init__(inputs, job, tell)
        self.cuts = cuts
        self.scores: Mapping[str, Tensor] = {}

    def after_tuning(self, phase: Phase) -> bool:
        """Cuts as it was cut; ends where nothing more is known."""
        goes_on = phase.round < len(self.cuts)
        if not self.inputs.zeroes:
            if goes_on:
                self.cut(self.cuts[phase.round])
            return goes_on
        ranking = self.rank()
        if goes_on:
            self.take(ranking, self.choose(ranking))
        else:
            self.scores = ranking.tensors
        return goes_on


@final
class _Repeat(_Rerun):
    """Cuts by the same settings, on its own scores."""

    def __init__(self, inputs: TrialInputs, job: TrialJob, tell: Tell, goal: Goal) -> None:
        super().__init__(inputs, job, tell)
        self.goal = goal

    def after_tuning(self, phase: Phase) -> bool:
        """Cuts without measuring a curve; ends where the goal's network is reached."""
        ranking, goal = self.rank(), self.goal
        there = goal.kind == "curve" and goal.round == phase.round
        if not there:
            self.take(ranking, self.choose(ranking))
        elif "threshold" in self.params:
            self.take(ranking, ranking.at(threshold=goal.threshold))
        else:
            self.take(ranking, ranking.at(target=goal.share))
        return not there
