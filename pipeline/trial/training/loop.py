"""The one training loop: dense anchors, tuning under a method, recovery after the cut.

A trial's training is one stream of batches, divided into phases. Each phase has its own optimizer (parameters change
shape at a cut) and its own linear schedule with warm-up. Losses are summed on the device, and read at the end of an
epoch and every CHECK_STEPS, so that one that is no number is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from pipeline.methods.base import PruningMethod, Run
from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.device import waits_cost
from pipeline.task.batches import Batch, Feed, Split, batch_parts, encoder_inputs
from pipeline.trial.curve.chain import Chain, SharedNetworks
from pipeline.trial.distillation import Distillation
from pipeline.trial.training.activation_checkpointing import recompute_activations
from pipeline.trial.training.compilation import Compilation
from pipeline.trial.training.data_parallel import Group
from pipeline.trial.training.dropout import cheap_dropout
from pipeline.trial.training.embeddings import Vocabulary
from pipeline.trial.training.generators import generators_of, load_generators
from pipeline.trial.training.listener import Listener, LoopState
from pipeline.trial.training.loss_checks import (
    CHANCE_LEAST_STEPS,
    CHECK_STEPS,
    AtChance,
    LossChecks,
    TrainingFailed,
)
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.precision import LossScale, autocast, gpu_kernels, training_attention
from pipeline.trial.training.process import keep_memory
from pipeline.trial.training.recipe import Recipe, make_optimizer
from pipeline.trial.training.step_graphs import Capture, StepGraphs, capture_on, make_graphs
from pipeline.trial.training.stream import Stream
from pipeline.trial.training.update import Around, Rates, clipped_step, load_optimizer, make_capturable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CHANCE_LEAST_STEPS", "CHECK_STEPS", "AtChance", "Listener", "Loop", "LoopState", "TrainingFailed"]


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
    constraint: Around | None = None  # of all steps
    compilation: Compilation | None = None
    group: Group | None = None  # of processes that share out the batches
    capture: Capture | None = None  # how steps become graphs; None: as CUDA graphs on a GPU, not elsewhere
    carried: PruningMethod | None = None  # one that does not watch this phase, but ranks after it
    chain: Chain | None = None  # smaller networks that are trained in place of the model, on its weights
    done: int = field(default=0, init=False)  # steps of the phase

    def __post_init__(self) -> None:
        self._device = next(self.model.parameters()).device
        self.stream = Stream(self.train, self.recipe, self.anatomy, self._device, seed=self.phase.seed)
        self._per_epoch = self.stream.per_epoch
        self._parts = self.recipe.parts * (1 if self.group is None else self.group.size)
        distils, kind = self.distillation is not None, self.recipe.kind
        self._losses = LossChecks(kind, self.train, self.phase, self._device, distils=distils)
        self._vocabulary = Vocabulary(self.model, self.train)
        self._feed = Feed(self.stream.batch, self._device, ahead=waits_cost(self._device))
        self._graphs: StepGraphs | None = None
        self._networks: SharedNetworks | None = None
        self._rates = Rates(self.phase, self.recipe)
        self._forward: Callable[..., Any] = self.compilation.forward if self.compilation else self.model
        self._scale = LossScale(self._device, self.recipe.precision)

    def fit(self, start: LoopState | None = None) -> None:
        """Train the phase, or what is left of it after `start`.

        Raises:
            TrainingFailed: the loss or its gradient is no number, or the loss diverged.
            AtChance: recovery is getting nowhere.
        """
        with self.begun(start):
            step = self._make_step()
            timed = self.compilation.step if self.compilation else lambda *_, **__: nullcontext()
            while self.done < self.phase.steps:
                batch = self._feed.get(self.phase.first + self.done, last=self.phase.end - 1)
                with timed(batch, left=self.phase.steps - self.done, graphs=self._graphs):
                    self._rates.set(self._optimizer, self.done)
                    step(batch)
                self._look()

    @contextmanager
    def begun(self, start: LoopState | None = None) -> Iterator[None]:
        """Make network, method and optimizer ready for the phase's steps, or those after `start`, in the context."""
        keep_memory()
        torch.manual_seed(self.phase.seed + 7919 * self.phase.first + (self.group.seed if self.group else 0))
        products = gpu_kernels(self._device, self.recipe.precision)
        layers = encoder_layers(self.model, self.anatomy.architecture) if self.recipe.checkpointing else ()
        if self.group is not None:
            self.group.begin_alike(self.model)
        with self._vocabulary.reduced(), products, recompute_activations(layers), cheap_dropout(self.model):
            self._optimizer = make_optimizer(self.model, self.recipe)
            try:
                with ExitStack() as watches:
                    self._watch(watches, start)
                    yield
            finally:
                self._feed.close()
        self.model.train(False)

    def end_step(self, found: Sequence[Tensor]) -> None:
        """Make a step of the optimizer, of gradients that are there; call the listener.

        Args:
            found: what the gradients' loss was made of, as `loss_of` returns it.

        Raises:
            TrainingFailed, AtChance: as `fit` does.
        """
        self._rates.set(self._optimizer, self.done)
        self._advance(found)
        self._look()

    def whole(self) -> AbstractContextManager[None]:
        """Return a context between two steps, in which the network has all of its words and may be evaluated."""
        return self._vocabulary.whole()

    def _watch(self, watches: ExitStack, start: LoopState | None) -> None:
        kept = self.method or self.carried
        if start is not None and kept is not None and "method" in start.tensors:
            kept.load(start.tensors["method"])
        if self.method is not None and self.run is not None:
            watches.enter_context(self.method.watch(self.model, self.anatomy, self._optimizer, self.run))
        if self.constraint is not None:
            watches.enter_context(self.constraint(self._optimizer))
        if self.compilation is not None:
            watches.enter_context(self.compilation.of(self.model))
        for group in self._optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        if start is not None:
            self._load(start)
        self.model.train()
        if self.chain is not None:
            self._networks = self.chain.networks(self.model, self.anatomy)
        if self.distillation is not None:
            for each in [(self.model, self.anatomy)] if self._networks is None else self._networks.parts:
                watches.enter_context(self.distillation.watch(*each))
        self.parameters = list(self.model.parameters())  # walking all modules at each step takes long

    def _make_step(self) -> Callable[[Batch], None]:
        """Return what makes a step of a batch: a graph on a GPU, where all is computed from tensors."""
        method = self.method
        steady = method is None or method.replays or method.splits
        alone = self.distillation is None and self.chain is None and self._parts == 1
        held = steady and alone and not self.recipe.checkpointing and not self._scale.on
        capture = capture_on(self._device, self.capture) if held else None
        if capture is None:
            return self._eager
        whole = make_capturable(self._optimizer, self._device)
        work = self._whole_step if whole else partial(self._backward, share=1.0)
        with_gradient = [*self.parameters, *(() if method is None else method.leaves())]
        graphs = self._graphs = make_graphs(work, with_gradient, capture, self._device)
        either = partial(self.compilation.either, work, graphs.run) if self.compilation else graphs.run
        run = either if method is None else partial(method.replay, either)
        end = self._end if whole else self._advance
        return lambda batch: end(run(batch))

    @property
    def recent_loss(self) -> float | None:
        """The mean task loss before the last check; reading it costs nothing."""
        return self._losses.recent

    def facts(self) -> dict[str, str]:
        """Return for a record how steps were run."""
        return {} if self._graphs is None else self._graphs.facts()

    def _gradients(self, batch: Batch) -> tuple[Tensor, ...]:
        """Add the gradients of a batch, whole or in parts; return what its loss is made of."""
        if self._parts == 1 and self._networks is None:
            return self._backward(batch, share=1.0)
        through: list[AbstractContextManager[Any]] = [nullcontext(self._forward)]
        if self._networks is not None:
            through = [each.sharing() for each in self._networks.at(self.phase.first + self.done)]
        each: list[tuple[Tensor, ...]] = []
        weight, whole = self.recipe.kind.weight, max(self.recipe.kind.weight(batch), 1.0)  # 0: without a word
        for rows, network in zip(batch_parts(batch, len(through)), through, strict=False):
            parts = batch_parts(rows, self._parts)
            own = [(part, True) for part in parts] if self.group is None else self.group.own(parts)
            with network as self._forward:
                each += [self._backward(part, share=counts * weight(part) / whole) for part, counts in own]
        found = [torch.stack(values).sum() for values in zip(*each, strict=True)]
        return tuple(found) if self.group is None else self.group.add_up(self._optimizer, found)

    def _backward(self, batch: Batch, *, share: float) -> tuple[Tensor, ...]:
        """Add the gradients of a part of a batch; return its share of what the loss is made of."""
        total, found = self.loss_of(batch, self._forward)
        self._scale.scaled(total if share == 1.0 else total * share).backward()  # type: ignore[no-untyped-call]
        return tuple(each * share for each in found)

    def loss_of(self, batch: Batch, forward: Callable[..., Any]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is minimised, and what it is made of: task loss, penalty, distillation loss if any, detached.

        `forward` is the network's, or stands for a pass that was made.
        """
        precision = self.recipe.precision
        if self.distillation is not None:
            self.distillation.begin(batch["rows"], self.phase.first + self.done)
        with autocast(self._device, precision), training_attention(self._device, precision):
            outputs = self.recipe.kind.outputs(forward(**encoder_inputs(batch)), batch)
        loss = self.recipe.kind.loss(outputs, batch)
        method = None if self.method is None or self.method.apart else self.method
        penalty = method.penalty(batch) if method is not None else torch.zeros_like(loss)
        learned = [] if self.distillation is None else [self.distillation.loss(loss, outputs, batch)]
        total = learned[0] if learned else loss
        total = total + penalty if method is not None else total
        return total, tuple(each.detach() for each in (loss, penalty, *learned))

    def _eager(self, batch: Batch) -> None:
        self._advance(self._gradients(batch))

    def _advance(self, found: Sequence[Tensor]) -> None:
        """Make the optimizer's step, of the gradients that are there."""
        skipped = self._scale.unscale(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm, foreach=True)
        self._scale.step(self._optimizer)
        self._optimizer.zero_grad(set_to_none=True)
        self._end((*found, norm), skipped)

    def _whole_step(self, batch: Batch) -> tuple[Tensor, ...]:
        """Make all of a step, from tensors alone; return what its loss is made of, and its gradient's norm."""
        found = self._backward(batch, share=1.0)
        return *found, clipped_step(self._optimizer, self.parameters, self.recipe.clip_norm)

    def _end(self, found: Sequence[Tensor], skipped: Tensor | None = None) -> None:
        """Count a step of the optimizer that was made, or skipped."""
        kept = self._rates.kept(self.done)
        kept_now = kept if skipped is None else torch.where(skipped, 1.0, kept)
        self._vocabulary.decay = self._vocabulary.decay * kept_now
        self._losses.add(found[:-1], found[-1])
        self.done += 1

    def _look(self) -> None:
        """Check the losses and call the listener, between two steps."""
        phase, done = self.phase, self.done
        position = phase.first + done
        ends = position % self._per_epoch == 0 or done == phase.steps
        self._losses.check_chance(done)
        if ends or done % CHECK_STEPS == 0:
            self._losses.check_loss(self._scale)
        if ends:
            loss, penalty, _, *learned = self._losses.epoch()
            values = {"train_loss": loss} | dict(zip(("distill_loss",), learned, strict=False))
            if self.method is not None:
                values |= {"penalty": penalty} | self.method.report()
            with self._vocabulary.whole():
                self.listener.on_epoch(position / self._per_epoch, values)
        self.listener.on_step(self._state)

    def _state(self) -> LoopState:
        tensors: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "sums": self._losses.sums,
        } | generators_of(self._device, None if self.method is None else self.run)
        if self._scale.on:
            tensors |= {"scaling": self._scale.state(), "decay": torch.as_tensor(self._vocabulary.decay)}
        if (kept := self.method or self.carried) is not None:
            tensors["method"] = kept.state()
        if self.chain is not None:
            tensors["chain"] = self.chain.state()
        return LoopState(self.done, tensors)

    def _load(self, start: LoopState) -> None:
        """Restore a state; the method's own is loaded before `watch`, which may build on it."""
        tensors, self.done = start.tensors, start.step
        self.model.load_state_dict(tensors["model"])
        load_optimizer(self._optimizer, tensors["optimizer"])
        self._losses.sums.copy_(tensors["sums"])
        if self._scale.on:
            self._scale.load(tensors["scaling"])
            self._vocabulary.decay = tensors["decay"].to(self._device)
        else:
            self._vocabulary.decay = math.prod(map(self._rates.kept, range(start.step)))
        load_generators(tensors, self._device, self.run)
