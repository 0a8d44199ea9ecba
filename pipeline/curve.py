"""The curve: one trained network, cut further and further, and measured at every step. It is free of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline.allocation import Removal, Step, choose
from pipeline.anatomy import Anatomy
from pipeline.measure import Evaluation
from pipeline.records import Measurement
from pipeline.surgery import cut

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What a network is worth on all of validation, and what it costs.
Examine = Callable[["PreTrainedModel", Anatomy], tuple[Evaluation, Measurement]]


def walk(
    model: PreTrainedModel, anatomy: Anatomy, steps: Iterable[Step], examine: Examine
) -> Iterator[tuple[Step, Evaluation, Measurement]]:
    """Cuts a copy of the network at each of the nested `steps` and examines what is left; `model` stays whole."""
    model, anatomy = copy.deepcopy((model, anatomy))
    for step in steps:
        anatomy = cut(model, anatomy, step.masks)
        yield step, *examine(model, anatomy)


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
