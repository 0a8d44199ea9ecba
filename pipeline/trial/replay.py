"""Run a trial again: as it was, to restore its network; or on a fresh seed, to measure its settings once more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, final

from torch import Tensor

from pipeline.model.anatomy import Anatomy
from pipeline.model.surgery import cut
from pipeline.model.unstructured import matrices, zero
from pipeline.study.records import Kind, Masks, Params
from pipeline.trial.chained import begin_chain
from pipeline.trial.curve import Ranking
from pipeline.trial.curve.allocation import Step
from pipeline.trial.inputs import OnEpoch, TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.run import TrialRun
from pipeline.trial.settings import TrialSettings
from pipeline.trial.training.loop import Listener
from pipeline.trial.training.phases import Phase
from pipeline.trial.vain import why_in_vain

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Goal:
    """The point that a trial is repeated up to, with the same parameters and another seed.

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
    """The network of a trial that was run again on another seed."""

    model: PreTrainedModel
    anatomy: Anatomy
    epochs: float
    remark: str


def replay_trial(
    inputs: TrialInputs, job: TrialJob, on_epoch: OnEpoch, *, cuts: tuple[Masks, ...]
) -> Replayed:
    """Train the network of a trial that was run before again: on one kind of CPU the same, bit for bit.

    The recorded cuts are imposed; no unit is scored, nothing is measured. A record does not hold which single weights
    were removed: those are scored and chosen again.

    Args:
        inputs: what all trials of the study share.
        job: the trial, with its own seed.
        on_epoch: called after every epoch.
        cuts: what the cut after each phase left. The replay ends after the first phase without one.

    Raises:
        TrainingFailed: the loss is no number, or diverged.
    """
    run = TrialRun(inputs, job)
    progress = _Progress(run, on_epoch)
    for phase, masks in zip_longest(run.phases, cuts):
        if phase is None:
            break
        _train(run, phase, progress)
        before_chain = run.settings.chains and phase.name == "tune" and phase.round + 1 == run.settings.rounds
        ranks = (inputs.zeroes or before_chain) and phase != run.phases[-1]
        ranking = run.rank() if ranks else None
        if masks is None:
            curve = ranking is not None and phase.name == "tune"
            return Replayed(run.model, ranking.tensors if ranking is not None and curve else run.chain.scores)
        if ranking is None:
            run.cut_to(masks)
            continue
        run.cut(ranking, run.next_cut(ranking))
        if before_chain:
            begin_chain(run, ranking)
    return Replayed(run.model, run.chain.scores)


def _train(run: TrialRun, phase: Phase, progress: Listener) -> str:
    """Train a phase; return why recovery ended early, or an empty string."""
    if phase.name == "recover":
        return run.recover(phase, progress)
    run.train(phase, progress)
    run.snapshot()
    return ""


def cut_trained(
    inputs: TrialInputs,
    params: Params,
    model: PreTrainedModel,
    anatomy: Anatomy,
    masks: Masks,
    *,
    scores: Mapping[str, Tensor],
    threshold: float,
) -> Anatomy:
    """Cut a network as its trial cut it on its curve, in place; return its new Anatomy.

    A network that has all that it may keep is left as it is.

    Args:
        inputs: of the study.
        params: of the trial.
        model: with the weights from before the cut.
        anatomy: its own.
        masks: the units to keep.
        scores: of the single weights, if those are zeroed.
        threshold: at or below which they are.
    """
    zeroes = bool(scores) and threshold > -math.inf
    if not zeroes and masks.same(anatomy.present):
        return anatomy
    refits = TrialSettings.of(params).reconstruct
    reconstruction = inputs.reconstruction(model, anatomy) if refits else None
    anatomy = cut(model, anatomy, masks)
    zero(matrices(anatomy), scores, threshold)
    if reconstruction is not None:
        reconstruction.refit(model, anatomy)
    return anatomy


def repeat_trial(inputs: TrialInputs, job: TrialJob, on_epoch: OnEpoch, *, goal: Goal) -> Repeated:
    """Tune, score, cut and recover as a trial that was run before, on the job's seed; measure no curve.

    Args:
        inputs: what all trials of the study share.
        job: the trial, with a seed of its own.
        on_epoch: called after every epoch.
        goal: where to end.

    Raises:
        TrainingFailed: the loss is no number, or diverged.
    """
    run = TrialRun(inputs, job)
    progress = _Progress(run, on_epoch)
    remark, ranking = "", None
    for phase in run.phases:
        remark = _train(run, phase, progress) or remark
        if phase.name == "recover" and run.settings.chains and ranking is not None:
            ranking = ranking.renewed(run.anatomy, run.reconstruction())
            run.cut(ranking, _step_at(ranking, goal, by_threshold=run.settings.threshold is not None))
            break
        if goal.kind == "recovered" and phase.round == goal.round and phase.name == "recover":
            break
        ranking = run.rank()
        if goal.kind == "curve" and goal.round == phase.round:
            run.cut(ranking, _step_at(ranking, goal, by_threshold=run.settings.threshold is not None))
            return Repeated(run.model, run.anatomy, run.epochs, "")
        step = run.next_cut(ranking)
        run.cut(ranking, step)
        if phase.name == "tune" and phase.round + 1 == run.settings.rounds:
            if vain := why_in_vain(run.settings, step.compression):
                return Repeated(run.model, run.anatomy, run.epochs, vain)
            if run.settings.chains:
                begin_chain(run, ranking)
    return Repeated(run.model, run.anatomy, run.epochs, remark)


def _step_at(ranking: Ranking, goal: Goal, *, by_threshold: bool) -> Step:
    return ranking.at(threshold=goal.threshold) if by_threshold else ranking.at(target=goal.share)


@final
class _Progress(Listener):
    """Reports the epochs of a run."""

    def __init__(self, run: TrialRun, on_epoch: OnEpoch) -> None:
        self._run, self._report = run, on_epoch

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        """Report an epoch."""
        self._report(self._run.progress(epoch, values, projected=self._run.settings.target))
