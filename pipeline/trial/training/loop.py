"""The one training loop: dense anchors, tuning under a method, recovery after the cut.

A trial's training is one stream of batches, divided into phases. Each phase has its own optimizer (parameters change
shape at a cut) and its own linear schedule with warm-up. Losses are summed on the device, and read at the end of an
epoch and every CHECK_STEPS, so that one that is no number is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from pipeline.methods.base import PruningMethod, Run
from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.device import waits_cost
from pipeline.task.batches import Batch, Feed, Split, batch_parts, encoder_inputs
from pipeline.trial.distillation import Distillation
from pipeline.trial.training.activation_checkpointing import recompute_activations
from pipeline.trial.training.compilation import Compilation
from pipeline.trial.training.dropout import cheap_dropout
from pipeline.trial.training.embeddings import Vocabulary
from pipeline.trial.training.listener import Listener, LoopState
from pipeline.trial.training.phases import Phase, schedule
from pipeline.trial.training.precision import LossScale, autocast, gpu_kernels, training_attention
from pipeline.trial.training.process import keep_memory
from pipeline.trial.training.recipe import Recipe, make_optimizer
from pipeline.trial.training.step_graphs import Capture, StepGraphs, cuda_capture
from pipeline.trial.training.stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["AtChance", "Listener", "Loop", "LoopState", "TrainingFailed"]

CHECK_STEPS = 50
DIVERGED = 10.0  # times the loss of an untrained network, mean over CHECK_STEPS or the rest of an epoch
# A network at chance after the cut mostly stays there, however long it trains: recovery ends if the loss is
# not below that of the constant prediction after this part of it (the mean over the later half of that part).
CHANCE_PART = 0.25
CHANCE_LEAST_STEPS = 100
CHANCE_MARGIN = 0.995


class TrainingFailed(RuntimeError):  # noqa: N818 (a fact about a trial, not a fault of the program)
    """The loss or its gradient is no number, or the loss is far above that of an untrained network."""


class AtChance(RuntimeError):  # noqa: N818 (a fact about a trial)
    """Recovery has not brought the loss below that of a constant prediction."""


# Rows of the loop's sums: since the last epoch, the last check, and the start of the window for AtChance.
_EPOCH, _CHECK, _CHANCE = range(3)


@final
@dataclass
class Loop:
    """One phase of training on one model."""

    model: PreTrainedModel
    anatomy: Anatomy
    train: Split
    phase: Phase
    recipe: Recipe
    listener: Listener
    method: PruningMethod | None = None
    run: Run | None = None
    distillation: Distillation | None = None
    constraint: Callable[[torch.optim.Optimizer], AbstractContextManager[None]] | None = (
        None  # around all steps
    )
    compilation: Compilation | None = None
    capture: Capture | None = None  # how steps become graphs; None: as CUDA graphs on a GPU, not elsewhere
    carried: PruningMethod | None = None  # one that does not watch this phase, but ranks after it
    done: int = field(default=0, init=False)  # steps of the phase
    recent_loss: float | None = field(default=None, init=False)  # mean before the last check

    def __post_init__(self) -> None:
        self._device = next(self.model.parameters()).device
        stream = Stream(self.train, self.recipe, self.anatomy, self._device, seed=self.phase.seed)
        self._per_epoch = stream.per_epoch
        # of task loss, penalty, gradient norm, steps; with a distillation, also of its loss
        self._sums = torch.zeros(3, 5 if self.distillation is not None else 4, device=self._device)
        self._one = torch.ones((), device=self._device)
        self._vocabulary = Vocabulary(self.model, self.train)
        self._feed = Feed(stream.batch, self._device, ahead=waits_cost(self._device))
        self._graphs: StepGraphs | None = None
        self._scale = LossScale(self._device, self.recipe.precision)

    def fit(self, start: LoopState | None = None) -> None:
        """Train the phase, or what is left of it after `start`.

        Raises:
            TrainingFailed: the loss or its gradient is no number, or the loss diverged.
            AtChance: recovery is getting nowhere.
        """
        keep_memory()
        torch.manual_seed(self.phase.seed + 7919 * self.phase.first)
        products = gpu_kernels(self._device, self.recipe.precision)
        every = encoder_layers(self.model, self.anatomy.architecture)
        layers: list[nn.Module] = list(every) if self.recipe.checkpointing else []
        with self._vocabulary.reduced(), products, recompute_activations(layers), cheap_dropout(self.model):
            try:
                self._fit(start, make_optimizer(self.model, self.recipe))
            finally:
                self._feed.close()
        self.model.train(False)

    def whole(self) -> AbstractContextManager[None]:
        """Return a context between two steps, in which the network has all of its words and may be evaluated."""
        return self._vocabulary.whole()

    def _fit(self, start: LoopState | None, optimizer: torch.optim.Optimizer) -> None:
        kept = self.method or self.carried
        if start is not None and kept is not None and "method" in start.tensors:
            kept.load(start.tensors["method"])
        watched = (
            self.method.watch(self.model, self.anatomy, optimizer, self.run)
            if self.method is not None and self.run is not None
            else nullcontext()
        )
        distilled = nullcontext() if self.distillation is None else self.distillation.watch(self.model)
        constrained = nullcontext() if self.constraint is None else self.constraint(optimizer)
        compiled = nullcontext() if self.compilation is None else self.compilation.of(self.model)
        with watched, distilled, constrained, compiled:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
            if start is not None:
                self._load(start, optimizer)
            self.model.train()
            self._parameters = list(self.model.parameters())  # walking all modules at each step takes long
            self._graphs = self._make_graphs()
            for step in range(self.done, self.phase.steps):
                left = self.phase.steps - step
                with nullcontext() if self.compilation is None else self.compilation.step(left=left):
                    self._step(step, optimizer)
                self.done = step + 1
                self._after(optimizer)

    def _make_graphs(self) -> StepGraphs | None:
        """Return the steps' graphs; None on a CPU, and where a step is computed from more than tensors."""
        recipe, cuda = self.recipe, self._device.type == "cuda"
        capture = cuda_capture if self.capture is None and cuda else self.capture
        steady = self.method is None or self.method.replays
        alone = self.distillation is None and self.compilation is None and recipe.parts == 1
        if capture is None or not steady or not alone or recipe.checkpointing or self._scale.on:
            return None
        wait = partial(torch.cuda.synchronize, self._device) if cuda else lambda: None
        return StepGraphs(partial(self._backward, share=1.0), self._parameters, capture, wait=wait)

    def facts(self) -> dict[str, str]:
        """Return for a record how steps were run."""
        return {} if self._graphs is None else self._graphs.facts()

    def _rate(self, step: int) -> float:
        """Return the learning rate of the network's own parameters."""
        factor = schedule(step, steps=self.phase.steps, warmup_fraction=self.recipe.warmup_fraction)
        return self.recipe.learning_rate * factor

    def _step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        phase, recipe = self.phase, self.recipe
        factor = schedule(step, steps=phase.steps, warmup_fraction=recipe.warmup_fraction)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        batch = self._feed.get(phase.first + step, last=phase.end - 1)
        if self.distillation is not None:
            self.distillation.begin(batch["rows"], phase.first + step)
        if self._graphs is not None:
            loss, penalty, *learned = self._graphs.backward(batch)
        elif recipe.parts == 1:
            loss, penalty, *learned = self._backward(batch, share=1.0)
        else:
            whole = recipe.kind.weight(batch)
            found = [
                self._backward(part, share=recipe.kind.weight(part) / whole)
                for part in batch_parts(batch, recipe.parts)
            ]
            loss, penalty, *learned = (torch.stack(values).sum() for values in zip(*found, strict=True))
        skipped = self._scale.unscale(optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, recipe.clip_norm, foreach=True)
        self._scale.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
        kept = 1 - self._rate(step) * recipe.weight_decay
        self._vocabulary.decay = self._vocabulary.decay * (
            kept if skipped is None else torch.where(skipped, 1.0, kept)
        )
        self._sums += torch.stack([loss, penalty, norm, self._one, *learned])

    def _backward(self, batch: Batch, *, share: float) -> tuple[Tensor, ...]:
        """Add the gradients of a part of a batch; return its share of task loss, penalty and distillation loss."""
        precision = self.recipe.precision
        with autocast(self._device, precision), training_attention(self._device, precision):
            forward = self.model if self.compilation is None else self.compilation.forward
            outputs = self.recipe.kind.outputs(forward(**encoder_inputs(batch)), batch)
        loss = self.recipe.kind.loss(outputs, batch)
        penalty = self.method.penalty(batch) if self.method is not None else torch.zeros_like(loss)
        learned = [] if self.distillation is None else [self.distillation.loss(loss, outputs, batch)]
        total = learned[0] if learned else loss
        total = total + penalty if self.method is not None else total
        self._scale.scaled(total if share == 1.0 else total * share).backward()  # type: ignore[no-untyped-call]
        return tuple(each.detach() * share for each in (loss, penalty, *learned))

    def _after(self, optimizer: torch.optim.Optimizer) -> None:
        """Check the losses and call the listener, between two steps."""
        phase, done = self.phase, self.done
        position = phase.first + done
        ends = position % self._per_epoch == 0 or done == phase.steps
        self._check_chance()
        if ends or done % CHECK_STEPS == 0:
            self._check_loss()
        if ends:
            loss, penalty, _, *learned = self._read(_EPOCH)
            values = {"train_loss": loss} | dict(zip(("distill_loss",), learned, strict=False))
            if self.method is not None:
                values |= {"penalty": penalty} | self.method.report()
            with self._vocabulary.whole():
                self.listener.on_epoch(position / self._per_epoch, values)
        self.listener.on_step(lambda: self._state(optimizer))

    def _read(self, row: int) -> list[float]:
        """Reset a row; return its means of task loss, penalty, gradient norm, and of the distillation loss if any."""
        loss, penalty, norm, steps, *learned = self._sums[row].tolist()
        self._sums[row].zero_()
        return [value / steps for value in (loss, penalty, norm, *learned)]

    def _check_loss(self) -> None:
        loss, _, norm, *_ = self._read(_CHECK)
        self.recent_loss = loss
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingFailed("the loss is not a number any more: learning rate or penalty are too high")
        untrained = self.recipe.kind.untrained_loss(self.train)
        if self._scale.lost():
            raise TrainingFailed("the gradient is no number in fp16 at any scale: --precision fp32 may help")
        if loss > DIVERGED * untrained:
            raise TrainingFailed(f"the loss diverged: {loss:.3g}; an untrained network has {untrained:.3g}")

    def _check_chance(self) -> None:
        done, steps = self.done, self.phase.steps
        part = max(CHANCE_LEAST_STEPS, math.ceil(CHANCE_PART * steps))
        if self.phase.name != "recover" or part >= steps:
            return
        if done == part // 2:
            self._sums[_CHANCE].zero_()
        elif done == part:
            loss, *_ = self._read(_CHANCE)
            constant = self.recipe.kind.constant_loss(self.train)
            if loss > CHANCE_MARGIN * constant:
                raise AtChance(
                    f"at chance after the cut: loss {loss:.3f} after {done} steps of recovery, "
                    f"a constant prediction has {constant:.3f}"
                )

    def _state(self, optimizer: torch.optim.Optimizer) -> LoopState:
        tensors: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "cpu_generator": torch.get_rng_state(),
            "sums": self._sums,
        }
        if self._scale.on:
            tensors |= {"scaling": self._scale.state(), "decay": torch.as_tensor(self._vocabulary.decay)}
        if self._device.type == "cuda":
            tensors["cuda_generator"] = torch.cuda.get_rng_state(self._device)
        if self.method is not None and self.run is not None:
            tensors["method_generator"] = self.run.generator.get_state()
        if (kept := self.method or self.carried) is not None:
            tensors["method"] = kept.state()
        return LoopState(self.done, tensors)

    def _load(self, start: LoopState, optimizer: torch.optim.Optimizer) -> None:
        """Restore a state; the method's own is loaded before `watch`, which may build on it."""
        tensors, self.done = start.tensors, start.step
        self.model.load_state_dict(tensors["model"])
        optimizer.load_state_dict(tensors["optimizer"])
        self._sums.copy_(tensors["sums"])
        if self._scale.on:
            self._scale.load(tensors["scaling"])
            self._vocabulary.decay = tensors["decay"].to(self._device)
        else:
            self._vocabulary.decay = math.prod(
                1 - self._rate(step) * self.recipe.weight_decay for step in range(start.step)
            )
        if self.run is not None and "method_generator" in tensors:
            self.run.generator.set_state(tensors["method_generator"].cpu())
        if "cuda_generator" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["cuda_generator"].cpu(), self._device)
        torch.set_rng_state(tensors["cpu_generator"].cpu())
