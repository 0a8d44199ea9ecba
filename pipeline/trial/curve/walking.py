"""The curve: one trained network, cut further and further, and measured at every step. It is free of training.

The steps are nested: what lies below the first layer that a step changes puts out what it put out before, and
is not computed again. So no network costs more than its own layers from there on.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.surgery import cut
from pipeline.study.records import Masks, Measurement
from pipeline.trial.curve.allocation import Removal, Step, choose
from pipeline.trial.measure import Evaluation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEMORY_BYTES = 2**30  # for hidden states between layers; what does not fit is computed again

# What a network is worth on all of validation, and what it costs.
Examine = Callable[["PreTrainedModel", Anatomy], tuple[Evaluation, Measurement]]


def walk(
    model: PreTrainedModel,
    anatomy: Anatomy,
    steps: Sequence[Step],
    examine: Examine,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[tuple[Step, Evaluation, Measurement]]:
    """Cuts a copy of the network at each of the nested `steps` and examines what is left; `model` stays whole.

    Args:
        model: trained, dense or cut.
        anatomy: its own.
        steps: the first one keeps all that is there.
        examine: runs the network in eval mode on the same batches in the same order, each time.
        memory_bytes: for what is kept from step to step.
    """
    model, anatomy = copy.deepcopy((model, anatomy))
    starts = [first_changed(a.masks, b.masks) for a, b in itertools.pairwise(steps)]
    lower = _LowerLayers(memory_bytes)
    for index, step in enumerate(steps):
        anatomy = cut(model, anatomy, step.masks)
        with lower.known(model, anatomy, start=starts[index - 1] if index else 0, later=starts[index:]):
            evaluation, measured = examine(model, anatomy)
        yield step, evaluation, measured


def first_changed(before: Masks, after: Masks) -> int:
    """How many layers of the network of `after` compute what they computed in that of `before`.

    At least one is always left to compute, unless none is left at all.
    """
    changed = (before.heads != after.heads).any(axis=1) | (before.neurons != after.neurons).any(axis=1)
    changed |= before.layers != after.layers
    same = int(np.argmax(changed)) if changed.any() else len(changed)
    return max(0, min(int(after.layers[:same].sum()), int(after.layers.sum()) - 1))


class _LowerLayers:
    """Hidden states between layers, of every batch: those that a later step can begin from."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._held: dict[int, list[Tensor]] = {}  # by the number of layers below; one tensor per batch
        self._batch = -1

    @contextmanager
    def known(
        self, model: PreTrainedModel, anatomy: Anatomy, *, start: int, later: Sequence[int]
    ) -> Iterator[None]:
        """Within it the layers below `start` are not computed where their output is held."""
        start = max((below for below in self._held if below <= start), default=0)
        wanted = _soonest_first(later)
        self._held = {below: self._held[below] for below in self._held if below == start or below in wanted}
        self._batch = -1
        layers = encoder_layers(model, anatomy.architecture)
        with ExitStack() as undo:
            undo.callback(model.register_forward_pre_hook(self._next_batch).remove)
            for below in wanted:
                if below > start:
                    self._held[below] = []
                    keep = partial(self._keep, below, wanted)
                    undo.callback(layers[below].register_forward_pre_hook(keep).remove)
            for number, layer in enumerate(list(layers)[:start]):
                layers[number] = _Known(layer, partial(self._state, start))
                undo.callback(layers.__setitem__, number, layer)
            yield

    def _next_batch(self, *_: object) -> None:
        self._batch += 1

    def _state(self, below: int) -> Tensor:
        return self._held[below][self._batch]

    def _keep(self, below: int, wanted: Sequence[int], _layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        if below in self._held:
            self._held[below].append(args[0])
            self._shed(wanted)

    def _shed(self, wanted: Sequence[int]) -> None:
        """Lets go of what is needed last while all is more than the memory allows."""
        while sum(s.nbytes for states in self._held.values() for s in states) > self._memory_bytes:
            last = [below for below in wanted if below in self._held]
            del self._held[last[-1] if last else next(iter(self._held))]


class _Known(nn.Module):
    """A layer that need not be computed: it hands over the hidden state above all such layers."""

    def __init__(self, layer: nn.Module, state: Callable[[], Tensor]) -> None:
        super().__init__()
        self.layer = layer  # its parameters still count
        self._state = state

    def forward(self, *_args: object, **_kwargs: object) -> Tensor:
        """[B, T, d], whatever comes in."""
        return self._state()


def _soonest_first(later: Sequence[int]) -> list[int]:
    """Where later steps can begin above the first layer: of two the later one only if it begins lower."""
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
) -> Step:
    """The step that the threshold or target asks for; before the last round, an equal part of the way.

    Args:
        order: what `removal_order` gave for this anatomy.
        anatomy: of the network at hand.
        threshold: as `choose` takes it; exactly one of it and `target` is given.
        target: as `choose` takes it.
        rounds_left: this one and those that follow, 1 or more.
    """
    last = choose(order, anatomy, threshold=threshold, target=target)
    if rounds_left == 1:
        return last
    now = anatomy.costs.compression(anatomy.present)
    return choose(order, anatomy, threshold=None, target=now + (last.compression - now) / rounds_left)
