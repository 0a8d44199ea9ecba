"""One trial from its parameters to its record, in the order in which it runs.

    (tune - score - curve - choose - cut) x rounds - recover - measure
                                       or, as a ladder, - (recover - measure - score - cut) x steps
                                       or, as a chain, - recover all together - measure them all

The order never changes, only lengths do. Each round goes on from the network that the last one cut. The curve is
free of training: units are removed in order of their score, and every step is measured on all of validation, on a
network that is cut further and further. Where a method ranks single weights, they are set to zero instead. What each
operation does to the network is in run.py; what is done while it trains, in monitor.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from pipeline.model.device import device_of
from pipeline.model.source import save_weights
from pipeline.model.unstructured import Matrices
from pipeline.study.records import TrialRecord
from pipeline.study.store import NO_SPACE, RECOVERED, WEIGHTS, before_cut, send
from pipeline.trial import checkpoint as checkpoints
from pipeline.trial.chained import begin_chain, walk_chain
from pipeline.trial.curve import Ranking
from pipeline.trial.curve.allocation import Step
from pipeline.trial.findings import Findings
from pipeline.trial.followers import team_of
from pipeline.trial.inputs import OnEpoch, TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.monitor import Monitor, OnRung
from pipeline.trial.run import TrialRun
from pipeline.trial.settings import CHAIN, LADDER, POINT
from pipeline.trial.training.gpu_memory import release
from pipeline.trial.training.loop import TrainingFailed
from pipeline.trial.training.phases import Phase
from pipeline.trial.vain import learned_nothing, why_in_vain

PARTS_AFTER_OOM = 4  # of a batch; a step's activations are most of what a small encoder needs


def run_trial(
    inputs: TrialInputs, job: TrialJob, on_epoch: OnEpoch, on_rung: OnRung | None = None
) -> TrialRecord:
    """Run a trial to its end, from its last checkpoint if there is one.

    A trial whose loss is no number or diverges is returned as failed, with its reason; other errors are raised. One
    that runs out of a GPU's memory is tried once more with its batches in parts (`batch_parts` in its provenance),
    from its last checkpoint.

    Args:
        inputs: what all trials of the study share.
        job: the trial.
        on_epoch: called after every epoch and, if the job has a beat, between epochs.
        on_rung: called at every rung of the job. An error raised in it ends the trial, whose record so far is then in
            its own attempt's folder. Also called with the curve at the end of each tuning, if training follows.
    """
    try:
        return _attempt(inputs, job, on_epoch, on_rung)
    except torch.OutOfMemoryError:
        pass  # left first: its frames hold the network that did not fit
    release(device_of(inputs.device))
    return _attempt(inputs, job, on_epoch, on_rung, parts=PARTS_AFTER_OOM)


def _attempt(
    inputs: TrialInputs, job: TrialJob, on_epoch: OnEpoch, on_rung: OnRung | None, *, parts: int = 1
) -> TrialRecord:
    started = time.monotonic()
    with team_of(inputs, job) as team:
        run = TrialRun(inputs, job, parts=parts, team=team)
        findings = Findings(run, started=started)
        monitor = Monitor(run, findings, on_epoch, on_rung)
        try:
            _go_through(run, findings, monitor)
        except TrainingFailed as failure:
            return replace(findings.record(), state="failed", reason=str(failure))
        return findings.record()


def _go_through(run: TrialRun, findings: Findings, monitor: Monitor) -> None:
    """Tune, score, draw the curve, choose and cut in every round; recover; measure."""
    for phase in run.phases[_resume(run, findings, monitor) :]:
        goes_on = _PHASES[phase.name if phase.name == "tune" else run.settings.recovery]
        if not goes_on(run, findings, monitor, phase):
            break


def _tune(run: TrialRun, findings: Findings, monitor: Monitor, phase: Phase) -> bool:
    """Train under the method, rank, measure the curve and cut; return whether more training is worth while."""
    run.train(phase, monitor)
    _keep_snapshot(run, monitor)
    ranking = run.rank()
    chosen = run.choose(ranking)
    _measure_curve(run, findings, ranking, chosen)
    monitor.show_curve()
    _keep_weights(run, findings, before_cut(phase.round), ranking.tensors)
    if phase.round + 1 < run.settings.rounds:
        run.cut(ranking, run.next_cut(ranking))
        return True
    vain = why_in_vain(run.settings, chosen.compression)
    if run.settings.recover_epochs and phase.steps and not vain:
        vain = learned_nothing(findings.history[-1], run.inputs.data, run.inputs.kind, steps=phase.end)
    run.cut(ranking, chosen if vain else run.next_cut(ranking))
    if vain:
        findings.end_in_vain(vain)
        return False
    monitor.projected = chosen.compression if run.settings.recovery == POINT else run.settings.ladder_end
    if run.settings.chains:
        begin_chain(run, ranking)
    return True


def _climb(run: TrialRun, findings: Findings, monitor: Monitor, phase: Phase) -> bool:
    """Train a network of the ladder, measure it, and cut the next one; return whether there is one."""
    findings.reason = run.recover(phase, monitor) or findings.reason
    evaluation, measured = run.measure(run.model, run.anatomy)
    findings.complete_history(evaluation)
    findings.add_climbed(evaluation, measured)
    _keep_weights(run, findings, before_cut(phase.round))
    if phase == run.phases[-1]:
        return False
    ranking = run.rank()
    step = run.next_cut(ranking)
    run.cut(ranking, step)
    return bool(step.removed)


def _train_chain(run: TrialRun, findings: Findings, monitor: Monitor, phase: Phase) -> bool:
    """Train the networks of the curve together, and measure all of them."""
    findings.reason = run.recover(phase, monitor) or findings.reason
    for step, evaluation, measured in walk_chain(run):
        if not step.removed:
            findings.complete_history(evaluation)
        findings.add_recovered_step(step, evaluation, measured)
    _keep_weights(run, findings, before_cut(phase.round), run.chain.scores)
    return False


def _measure_curve(run: TrialRun, findings: Findings, ranking: Ranking, chosen: Step) -> None:
    """Measure every step of the removal, from the network as it was tuned to bare; `chosen` is among them."""
    steps = ranking.steps(most=run.settings.curve_steps, include=chosen)
    for step, evaluation, measured in ranking.walk(run.model, steps, run.measure):
        if not step.removed:
            findings.complete_history(evaluation)
        findings.add_curve(step, evaluation, measured)


def _recover(run: TrialRun, findings: Findings, monitor: Monitor, phase: Phase) -> bool:
    """Train on without the method, and measure the network; without recovery it was measured on the curve."""
    if not phase.steps:
        findings.add_recovered(None)
        return False
    findings.reason = run.recover(phase, monitor) or findings.reason
    evaluation, measured = run.measure(run.model, run.anatomy)
    findings.complete_history(evaluation)
    findings.add_recovered((evaluation, measured))
    _keep_weights(run, findings, RECOVERED)
    return False


# What a phase does: in tuning, and in each kind of recovery; whether the trial goes on after it.
_PHASES: dict[str, Callable[[TrialRun, Findings, Monitor, Phase], bool]] = {
    "tune": _tune,
    POINT: _recover,
    LADDER: _climb,
    CHAIN: _train_chain,
}


def _resume(run: TrialRun, findings: Findings, monitor: Monitor) -> int:
    """Go back to the last checkpoint, if there is one; return the index of the phase to begin with."""
    checkpoint = checkpoints.load(list(run.job.attempts))
    if checkpoint is None or not _load_snapshots(run, before=checkpoint.phase):
        return 0
    phase = run.phases[checkpoint.phase]
    findings.resume(checkpoint.so_far, epoch=(phase.first + checkpoint.loop.step) / run.per_epoch)
    run.resume(checkpoint.loop, checkpoint.masks)
    if phase.name == "recover":
        monitor.projected = run.anatomy.costs.compression(run.anatomy.present)
    return checkpoint.phase


def _load_snapshots(run: TrialRun, *, before: int) -> bool:
    """Learn again from the snapshots of the rounds before a phase; return whether all of them are there.

    Tuning leaves them, recovery does not: a ladder's phases are rounds of their own.
    """
    if run.distillation is None or not run.distillation.takes_snapshots():
        return True
    rounds = [phase.round for phase in run.phases[:before] if phase.name == "tune"]
    found = [checkpoints.load_snapshot(list(run.job.attempts), round_) for round_ in rounds]
    snapshots = [features for features in found if features is not None]
    if len(snapshots) < len(found):
        return False
    for features in snapshots:
        run.distillation.remember(features)
    return True


def _keep_snapshot(run: TrialRun, monitor: Monitor) -> None:
    """Take a snapshot that later phases learn from, and write it: checkpoints are worth nothing without it."""
    features = run.snapshot()
    if features is None or not run.job.attempts:
        return
    try:
        checkpoints.save_snapshot(run.job.attempts[-1], run.phase.round, features)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        monitor.stop_checkpoints()


def _keep_weights(run: TrialRun, findings: Findings, name: str, scores: Matrices | None = None) -> None:
    """Write the weights that the phase's networks are made from, if one may stand on the study's front.

    A trial goes on without them, since they can be made again.
    """
    if not run.job.keep_weights or not findings.may_stand(run.job.ask.front):
        return
    try:
        path = run.job.attempts[-1] / WEIGHTS / f"{name}.safetensors"
        save_weights(run.model, path, scores=scores or {})
        send(path)
    except OSError as error:
        findings.reason = f"weights not kept: {error.strerror or error}"
