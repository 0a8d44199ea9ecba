"""The curve of units: one trained network, cut further and further, and measured at every step, without training.

The steps are nested: below the first layer that a step changes, hidden states are those of the step before, and are
not computed again. So a step costs only the layers from there on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers, find_architecture
from pipeline.model.copies import copied
from pipeline.model.cut_blocks import Architecture
from pipeline.model.layer_parts import returned
from pipeline.model.surgery import cut
from pipeline.study.records import Masks, Measurement
from pipeline.trial.curve.allocation import Removal, Step, choose
from pipeline.trial.measure import Evaluation
from pipeline.trial.training.gpu_memory import for_states_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Returns the quality of a network on validation, and its cost.
Examine = Callable[["PreTrainedModel", Anatomy], tuple[Evaluation, Measurement]]


def walk(
    model: PreTrainedModel,
    anatomy: Anatomy,
    steps: Sequence[Step],
    examine: Examine,
    *,
    refit: Callable[[PreTrainedModel, Anatomy], None] | None = None,
    memory_bytes: int | None = None,
) -> Iterator[tuple[Step, Evaluation, Measurement]]:
    """Cut a copy of the network at each of the nested `steps` and examine what is left; `model` is not changed.

    Without `refit` one copy is cut further and further; with it every step is cut from the network itself, so that
    what a step is does not depend on the steps before it.

    Args:
        model: trained, dense or cut.
        anatomy: its own.
        steps: the first one removes nothing.
        examine: runs the network in eval mode on the same batches in the same order, each time.
        refit: changes a cut network in place; what a layer becomes depends on nothing but that layer and
            those below it.
        memory_bytes: limit of the hidden states kept from step to step; None for that of the device.
    """
    start = (model, anatomy)
    refitted = () if refit is None else _outputs(anatomy)
    model, anatomy = copied(*start, own=refitted)
    starts = [first_changed(a.masks, b.masks) for a, b in itertools.pairwise(steps)]
    if memory_bytes is None:
        memory_bytes = for_states_bytes(next(model.parameters()).device)
    lower = _LowerLayers(memory_bytes)
    for index, step in enumerate(steps):
        if index and refit is not None:
            model, anatomy = copied(*start, own=refitted)
        anatomy = cut(model, anatomy, step.masks)
        if step.removed and refit is not None:
            refit(model, anatomy)
        with lower.known(model, anatomy, start=starts[index - 1] if index else 0, later=starts[index:]):
            evaluation, measured = examine(model, anatomy)
        yield step, evaluation, measured


def _outputs(anatomy: Anatomy) -> list[Tensor]:
    """Return the tensors that a refit changes in place: those of all output projections."""
    blocks = (block for parts in anatomy.layers for _, block, _ in parts.blocks)
    return [tensor for block in blocks for tensor in block.output.parameters()]


def first_changed(before: Masks, after: Masks) -> int:
    """Return how many layers of the network of `after`, from below, compute the same as in that of `before`.

    At least one layer is always left to compute, unless the network has none.
    """
    changed = (before.heads != after.heads).any(axis=1) | (before.neurons != after.neurons).any(axis=1)
    changed |= before.layers != after.layers
    same = int(np.argmax(changed)) if changed.any() else len(changed)
    return max(0, min(int(after.layers[:same].sum()), int(after.layers.sum()) - 1))


class _LowerLayers:
    """The hidden states between layers, of every batch, that a later step can start from."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._held: dict[int, list[Tensor]] = {}  # by number of layers below; one tensor per batch
        self._batch = -1

    @contextmanager
    def known(
        self, model: PreTrainedModel, anatomy: Anatomy, *, start: int, later: Sequence[int]
    ) -> Iterator[None]:
        """Skip the layers below `start` if their output is held, and hold states for later steps, in the context."""
        start = max((below for below in self._held if below <= start), default=0)
        needed = _soonest_first(later)
        self._held = {below: self._held[below] for below in self._held if below == start or below in needed}
        self._batch = -1
        where = find_architecture(anatomy.architecture)
        layers = encoder_layers(model, anatomy.architecture)
        with ExitStack() as undo:
            undo.callback(model.register_forward_pre_hook(self._next_batch).remove)
            for below in needed:
                if below > start:
                    self._held[below] = []
                    keep = partial(self._keep, below, needed)
                    undo.callback(layers[below].register_forward_pre_hook(keep).remove)
            for number, layer in enumerate(list(layers)[:start]):
                layers[number] = _Known(layer, partial(self._state, start), where)
                undo.callback(layers.__setitem__, number, layer)
            yield

    def _next_batch(self, *_: object) -> None:
        self._batch += 1

    def _state(self, below: int) -> Tensor:
        return self._held[below][self._batch]

    def _keep(self, below: int, needed: Sequence[int], _layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        if below in self._held:
            self._held[below].append(args[0])
            self._shed(needed)

    def _shed(self, needed: Sequence[int]) -> None:
        """Drop the states that are needed last, until the rest fits into the memory."""
        while sum(s.nbytes for states in self._held.values() for s in states) > self._memory_bytes:
            last = [below for below in needed if below in self._held]
            del self._held[last[-1] if last else next(iter(self._held))]


class _Known(nn.Module):
    """A layer that need not be computed: it returns the hidden state above all such layers."""

    def __init__(self, layer: nn.Module, state: Callable[[], Tensor], where: Architecture) -> None:
        super().__init__()
        self.layer = layer  # its parameters still count
        self._state, self._where = state, where
        vars(self).update({name: getattr(layer, name) for name in where.layer_attributes})

    def forward(self, *_args: object, **_kwargs: object) -> Tensor | tuple[Tensor, None]:
        """Return the hidden state [B, T, d], whatever the input is."""
        return returned(self._where, self._state())


def _soonest_first(later: Sequence[int]) -> list[int]:
    """Return the layers above which later steps can start: those of a later step only if they are lower."""
    found: list[int] = []
    for below in later:
        if below and (not found or below < found[-1]):
            found.append(below)
    return found


def choose_in_rounds(
    order: tuple[Removal, ...],
    anatomy: Anatomy,
    *,
    threshold: float | None,
    target: float | None,
    rounds_left: int,
    neurons_together: int = 1,
) -> Step:
    """Choose the step of the threshold or target; before the last round, an equal part of the way there.

    Args:
        order: what `removal_order` returned for this anatomy.
        anatomy: of the network at hand.
        threshold: as `choose` takes it; exactly one of it and `target` is given.
        target: as `choose` takes it.
        rounds_left: this round and those after it, 1 or more.
        neurons_together: as `choose` takes it.
    """
    together = partial(choose, order, anatomy, neurons_together=neurons_together)
    last = together(threshold=threshold, target=target)
    if rounds_left == 1:
        return last
    now = anatomy.costs.compression(anatomy.present)
    return together(threshold=None, target=now + (last.compression - now) / rounds_left)
