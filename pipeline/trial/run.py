"""A trial in progress: its network, and the operations that trials, replays and probes are made of.

    train, rank, choose, cut, recover, measure

Their order is determined by the callers: trial.py (a trial), replay.py (a trial run again), and the plan's probe.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from pipeline.methods.base import PruningMethod, Run, keep_as_it_is
from pipeline.model.anatomy import Anatomy
from pipeline.model.copies import copied
from pipeline.model.device import device_of
from pipeline.model.surgery import cut
from pipeline.model.unstructured import holding_zeros, matrices
from pipeline.study.choices import COMPILE_OFF
from pipeline.study.records import Array, Masks, Measurement
from pipeline.task.batches import Split
from pipeline.trial.components import make_distillation, make_method, make_network, make_recipe
from pipeline.trial.curve import Ranking
from pipeline.trial.curve.allocation import Step
from pipeline.trial.curve.chain import NO_CHAIN, Chain
from pipeline.trial.curve.ladder import next_on_ladder
from pipeline.trial.distillation import compute_outputs
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import Evaluation, measure
from pipeline.trial.rank import rank_network
from pipeline.trial.reconstruction import Reconstruction
from pipeline.trial.settings import POINT, TrialSettings
from pipeline.trial.team import Order, Team
from pipeline.trial.training.compilation import Compilation
from pipeline.trial.training.gpu_memory import count_anew
from pipeline.trial.training.loop import AtChance, Listener, Loop, LoopState
from pipeline.trial.training.phases import Phase, phases, steps_per_epoch
from pipeline.trial.training.precision import gpu_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@final
class TrialRun:
    """The network of one trial, the method that watches it, and how far its training is.

    `masks` is what the cuts have left, None before the first; `epochs` what was trained up to the end of the last
    phase.
    """

    def __init__(
        self, inputs: TrialInputs, job: TrialJob, *, parts: int = 1, team: Team | None = None
    ) -> None:
        """Build the network at its start, and the method.

        Args:
            inputs: what all trials of the study share.
            job: the trial.
            parts: of a batch, one after the other, where a whole one does not fit into memory.
            team: the trial's processes, where it has several GPUs.

        Raises:
            ValueError: the trial starts from the dense network, or learns from a teacher, that is not given.
        """
        self.inputs, self.job, self.settings = inputs, job, TrialSettings.of(job.ask.params)
        self._team = team
        self.device = device_of(inputs.device)
        count_anew(self.device)
        self.recipe = make_recipe(inputs, self.settings, self.device, parts=parts)
        rows = len(inputs.data.train)
        self.phases = phases(self.settings, train_rows=rows, seed=job.ask.seed)
        self.per_epoch = steps_per_epoch(rows, self.settings.batch_size)
        torch.manual_seed(job.ask.seed)
        self.model, self.anatomy = self._network_at_start()
        self.method = make_method(inputs.method, job.ask.params, inputs.kind, inputs.fitted)
        self.distillation = make_distillation(inputs, job, self.device)
        self.compilation = None if inputs.compile == COMPILE_OFF else Compilation()
        self.phase = self.phases[0]
        self.epochs = 0.0
        self.step_facts: dict[str, str] = {}  # how steps were run: of the last tuning, and of recovery
        self.masks: Masks | None = None
        self.chain = NO_CHAIN  # what recovery trains, from the last ranking on
        self._loop: Loop | None = None  # of the phase at hand
        self._start: LoopState | None = None  # where the next phase goes on, if it was interrupted

    @property
    def phase_index(self) -> int:
        """The place of the phase at hand among the trial's phases."""
        return self.phases.index(self.phase)

    @property
    def position(self) -> int:
        """The number of steps of the trial's stream of batches that are done."""
        return self.phase.first + (self._loop.done if self._loop is not None else 0)

    @property
    def recent_loss(self) -> float | None:
        """The mean task loss of the last steps that were checked; reading it costs nothing."""
        return None if self._loop is None else self._loop.recent_loss

    def resume(self, state: LoopState, masks: Masks | None) -> None:
        """Go back to where a checkpoint was written; the state is loaded by the next `train`."""
        self._start = state
        self.chain = Chain.of_state(state.tensors["chain"]) if "chain" in state.tensors else NO_CHAIN
        if masks is not None:
            self.masks = masks
            self.anatomy = cut(self.model, self.anatomy, masks)

    def train(self, phase: Phase, listener: Listener) -> None:
        """Train one phase; in tuning under the method. Weights that earlier phases left at zero stay there.

        Raises:
            TrainingFailed: the loss or its gradient is no number, or the loss diverged.
            AtChance: recovery is getting nowhere.
        """
        first = phase == self.phases[0]
        if phase.steps and not first and self._start is None and self.settings.rewind:
            self._rewind()
        start, self._start = self._start, None
        if self._team is not None:
            self._team.order(self.phases.index(phase), self.masks, start, self.chain, self.distillation)
        loop = self.loop_of(phase, listener)
        try:
            loop.fit(start)
        finally:
            self.epochs = (phase.first + loop.done) / self.per_epoch
            kind = "" if phase.name == "tune" else f"{phase.name}/"
            self.step_facts |= {f"{kind}{name}": value for name, value in loop.facts().items()}

    def follow(self, order: Order, listener: Listener) -> None:
        """Train a phase as another process of this trial does, which has cut to its masks."""
        phase, masks, start, self.chain = self.phases[order.phase], order.masks, order.start, order.chain
        order.remind(self.distillation)
        if masks is not None:
            self.anatomy = cut(self.model, self.anatomy, masks)
        self.loop_of(phase, listener).fit(start)

    def loop_of(self, phase: Phase, listener: Listener) -> Loop:
        """Return the training of a phase, which is now the phase at hand."""
        tuning, first = phase.name == "tune", phase == self.phases[0]
        self.phase = phase
        self._loop = Loop(
            model=self.model,
            anatomy=self.anatomy,
            train=self.inputs.data.train,
            phase=phase,
            recipe=self.recipe if tuning else self.recipe.at(self.settings.recover_rate_factor),
            listener=listener,
            method=self.method if tuning else None,
            carried=self.method if self.settings.climbs and not tuning else None,
            chain=self.chain if self.settings.chains and not tuning else None,
            run=self._method_run() if tuning else None,
            distillation=self.distillation,
            constraint=partial(holding_zeros, self.anatomy) if self.inputs.zeroes and not first else None,
            compilation=self.compilation if first else None,  # a cut network would be compiled anew
            group=None if self._team is None else self._team.group,
        )
        return self._loop

    def recover(self, phase: Phase, listener: Listener) -> str:
        """Train on without the method; return why that ended early, or an empty string.

        Raises:
            TrainingFailed: the loss or its gradient is no number, or the loss diverged.
        """
        if not phase.steps:
            return ""
        try:
            self.train(phase, listener)
        except AtChance as remark:
            return str(remark)
        return ""

    def snapshot(self) -> Array | None:
        """Represent the training rows by the network as it is, if later phases learn from that; None if not."""
        later = any(phase.steps for phase in self.phases[self.phase_index + 1 :])
        if self.distillation is None or not self.distillation.takes_snapshots() or not later:
            return None
        outputs = compute_outputs(
            self.model, self.inputs.data.train, self.inputs.kind, precision=self.recipe.precision
        )
        self.distillation.remember(outputs.features)
        return outputs.features

    def rank(self) -> Ranking:
        """Rank the units, or the single weights, by the method's scores."""
        return self._ranking(self.model, self.anatomy, self.method)

    def rank_copy(self) -> tuple[PreTrainedModel, Ranking]:
        """Rank a copy of the network as the forward pass is in mid-training, and return both.

        A fresh method loads the state of the one at work, as after a checkpoint; what its hooks do to weights is
        baked into the copy. Random numbers are drawn.
        """
        model, anatomy = copied(self.model, self.anatomy)
        method = make_method(self.inputs.method, self.job.ask.params, self.inputs.kind, self.inputs.fitted)
        method.load(self.method.state())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with method.watch(model, anatomy, optimizer, self._method_run()):
            model.load_state_dict(self.model.state_dict())
        nn.Module.eval(model)
        return model, self._ranking(model, anatomy, method)

    def choose(self, ranking: Ranking, *, rounds_left: int | None = None) -> Step:
        """Choose what to keep: by default what this round keeps; with `rounds_left=1`, as if it were the last."""
        return ranking.choose(
            threshold=self.settings.threshold,
            target=self.settings.target,
            rounds_left=self.settings.rounds - self.phase.round if rounds_left is None else rounds_left,
        )

    def next_cut(self, ranking: Ranking) -> Step:
        """Return the cut that ends the phase at hand: what `choose` returns, the ladder's next one, or none."""
        settings, done = self.settings, self.phase.round + 1 - self.settings.rounds
        if done < 0 or settings.recovery == POINT:
            return self.choose(ranking)
        here, left = ranking.at(threshold=-math.inf), settings.ladder_steps - done
        if settings.chains:  # its networks are parts of the whole one
            return here
        end, include = settings.ladder_end, settings.target
        return ranking.at(target=next_on_ladder(here.compression, end=end, left=left, include=include))

    def cut(self, ranking: Ranking, step: Step) -> None:
        """Leave only what a step of the ranking keeps."""
        self.masks = step.masks
        self.anatomy = ranking.take(self.model, step)

    def cut_to(self, masks: Masks) -> None:
        """Leave only the units that `masks` keep, as `cut` does after a ranking."""
        reconstruction = None if masks.same(self.anatomy.present) else self.reconstruction()
        self.masks = masks
        self.anatomy = cut(self.model, self.anatomy, masks)
        if reconstruction is not None:
            reconstruction.refit(self.model, self.anatomy)

    def reconstruction(self) -> Reconstruction | None:
        """Read what is cut from this network is refitted to; None if it is not."""
        return self.inputs.reconstruction(self.model, self.anatomy) if self.settings.reconstruct else None

    def between_steps(self) -> AbstractContextManager[None]:
        """Return a context between two steps, in which the network may be evaluated and copied."""
        return nullcontext() if self._loop is None else self._loop.whole()

    def measure(
        self, model: PreTrainedModel, anatomy: Anatomy, rows: Split | None = None
    ) -> tuple[Evaluation, Measurement]:
        """Evaluate a network on validation, or on some rows of it, and count what it costs."""
        inputs, found = self.inputs, self.inputs.evaluate(model, rows)
        length, zeroes, table = inputs.length, inputs.zeroes, inputs.latency
        return found, measure(model, anatomy, found, length=length, count_zeros=zeroes, latency=table)

    def progress(
        self, epoch: float, values: dict[str, float], *, projected: float | None
    ) -> dict[str, float]:
        """Describe how far the trial is, as callers of `on_epoch` get it.

        Args:
            epoch: trained so far.
            values: the latest losses and metrics.
            projected: the compression that the trial is expected to end with; None if that is not known.
        """
        known = {} if projected is None else {"projected": projected}
        shown = {name: values[name] for name in ("train_loss", "metric") if name in values}
        return {"epoch": epoch, "epochs": self.phases[-1].end / self.per_epoch} | known | shown

    def _network_at_start(self) -> tuple[PreTrainedModel, Anatomy]:
        """Build the model as it came, or as it was fine-tuned, on the device."""
        return make_network(self.inputs, self.settings, self.device, seed=self.job.ask.seed)

    def _ranking(self, model: PreTrainedModel, anatomy: Anatomy, method: PruningMethod) -> Ranking:
        with gpu_kernels(self.device, self.recipe.precision):
            return rank_network(self.inputs, self.settings, method, model, anatomy)

    def _rewind(self) -> None:
        """Set what is left to what it was when the trial began (arXiv 1803.03635); zeros stay."""
        other, anatomy = self._network_at_start()
        anatomy = cut(other, anatomy, self.anatomy.present)
        with torch.no_grad():
            if self.inputs.zeroes:
                now = matrices(self.anatomy)
                for name, weight in matrices(anatomy).items():
                    weight.mul_(now[name] != 0)
            self.model.load_state_dict(other.state_dict())

    def _method_run(self) -> Run:
        return Run(
            total_steps=sum(phase.steps for phase in self.phases if phase.name == "tune"),
            train_rows=len(self.inputs.data.train),
            target=self.settings.target,
            generator=torch.Generator().manual_seed(self.job.ask.seed),
            threshold=self.settings.threshold,
            summed=keep_as_it_is if self._team is None else self._team.group.summed,
        )
