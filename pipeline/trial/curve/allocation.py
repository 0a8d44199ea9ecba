"""Which units go: one allocation, shared by all methods, so that a comparison compares methods.

Scores order the units (`removal_order`); a threshold or a target picks how many of them go (`choose`); the
curve runs through all of them (`curve_steps`). Masks are in the numbers of the dense model. Shapes: L layers,
H heads, N neurons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import UNIT_KINDS, BoolArray, FloatArray, Masks, Scores

# What one entry of each array of Scores is; also the order of equal scores within a layer.
UNITS = dict(zip(UNIT_KINDS, ("head", "attention", "neuron", "ffn", "layer"), strict=True))


@dataclass(frozen=True)
class Removal:
    """One unit that goes: `kind` is head, attention, neuron, ffn or layer; `index` numbers heads and neurons.

    `score` is what it was ranked by: divided by the unit's parameters where that was asked for.
    """

    kind: str
    layer: int
    index: int | None
    score: float


@dataclass(frozen=True)
class Step:
    """What stays after the first `removed` units of an order are gone.

    `threshold` is the score of the last of them, -inf if nothing went. `compression` is the part of the dense
    model's encoder that is gone.
    """

    masks: Masks
    threshold: float
    compression: float
    removed: int


def removal_order(
    scores: Scores, anatomy: Anatomy, *, score_per_parameter: bool, min_attention_blocks: int
) -> tuple[Removal, ...]:
    """The units that are there, by ascending score, so that what stays is nested.

    Equal scores go by layer, kind and number. The last `min_attention_blocks` attention blocks are left out
    (of each, at head level, its last head; at layer level, its layer): a classifier without attention reads
    nothing but its own first token.

    Raises:
        ValueError: if the scores do not fit the anatomy, or are no number for a unit that is there.
    """
    present = anatomy.present
    found: list[tuple[float, int, int, int]] = []
    for place, kind in enumerate(UNIT_KINDS):
        ranked: FloatArray | None = getattr(scores, kind)
        if ranked is not None:
            there, parameters = _units_there(kind, anatomy)
            _check_scores(kind, ranked, there)
            values = ranked / np.maximum(parameters, 1) if score_per_parameter else ranked
            units = np.argwhere(there)
            found += [
                (score, unit[0], place, unit[-1])
                for score, unit in zip(values[there].tolist(), units.tolist(), strict=True)
            ]
    names = tuple(UNITS.values())
    order = (
        Removal(names[place], layer, index if names[place] in ("head", "neuron") else None, score)
        for score, layer, place, index in sorted(found)
    )
    return _sparing_attention(order, present.heads.sum(axis=1), least=min_attention_blocks)


def curve_steps(
    order: tuple[Removal, ...], anatomy: Anatomy, *, most: int = 32, include: int | None = None
) -> tuple[Step, ...]:
    """Nested steps from nothing removed to the end of the order: all, or at most `most`, even in compression.

    Units of equal score go in one step, as they do under any threshold. The first and the last step are
    always there, and so is the one after `include` removals.

    Args:
        order: what `removal_order` gave for this anatomy.
        anatomy: of the network at hand.
        most: steps at most, 3 or more.
        include: a number of removals, 0 ... len(order).

    Raises:
        ValueError: if `most` or `include` is out of its range.
    """
    if most < 3 or (include is not None and not 0 <= include <= len(order)):
        raise ValueError(f"Steps are 3 or more and include 0 to {len(order)} removals: {most}, {include}.")
    fixed = {0, len(order)} if include is None else {0, include, len(order)}
    # A step may end after removal i where the next one has another score.
    ends = [i for i in range(1, len(order)) if order[i - 1].score < order[i].score]
    if len(fixed.union(ends)) <= most:
        return _steps_at(order, anatomy, sorted(fixed.union(ends)))
    compressions = _compressions(order, anatomy)
    wanted = np.linspace(compressions[0], compressions[-1], most - len(fixed) + 2)[1:-1]
    nearest = np.abs(compressions[ends][None, :] - wanted[:, None]).argmin(axis=1)
    return _steps_at(order, anatomy, sorted(fixed | {ends[i] for i in nearest}))


def choose(
    order: tuple[Removal, ...],
    anatomy: Anatomy,
    *,
    threshold: float | None = None,
    target: float | None = None,
) -> Step:
    """What stays at a threshold or at a target; exactly one of them is given.

    Args:
        order: what `removal_order` gave for this anatomy.
        anatomy: of the network at hand.
        threshold: units with this score or less go.
        target: compression of the dense model to reach: the first step that does, so it overshoots by less
            than one unit. An order that cannot reach it goes to its end.

    Raises:
        ValueError: if none or both are given, or a NaN.
    """
    given = [value for value in (threshold, target) if value is not None]
    if len(given) != 1 or np.isnan(given[0]):
        raise ValueError(f"Exactly one of threshold and target is a number: {threshold=}, {target=}.")
    if threshold is not None:
        removed = np.searchsorted([removal.score for removal in order], threshold, side="right")
    else:
        removed = np.searchsorted(_compressions(order, anatomy), given[0], side="left")
    return _steps_at(order, anatomy, [min(int(removed), len(order))])[0]


def _sparing_attention(
    order: Iterable[Removal], heads: npt.NDArray[np.int64], *, least: int
) -> tuple[Removal, ...]:
    """The order without what ends an attention block where only `least` are left; heads [L] of each block."""
    heads = heads.copy()
    blocks = int((heads > 0).sum())
    taken: list[Removal] = []
    for removal in order:
        left = heads[removal.layer]
        goes = {"head": min(1, left), "attention": left, "layer": left}.get(removal.kind, 0)
        ends_block = goes > 0 and goes == left
        if ends_block and blocks <= least:
            continue
        heads[removal.layer] -= goes
        blocks -= ends_block
        taken.append(removal)
    return tuple(taken)


def _units_there(kind: str, anatomy: Anatomy) -> tuple[BoolArray, npt.NDArray[np.int64]]:
    """Which units of a kind are there, and the parameters of each: both in the shape of their scores.

    A head or neuron is counted without the output bias, which goes with the last of its block.
    """
    present, costs = anatomy.present, anatomy.costs
    heads, neurons = present.heads.sum(axis=1), present.neurons.sum(axis=1)
    bias = anatomy.hidden_size
    if kind == "heads":
        return present.heads, np.full(present.heads.shape, costs.head)
    if kind == "attention":
        return heads > 0, heads * costs.head + bias
    if kind == "neurons":
        return present.neurons, np.full(present.neurons.shape, costs.neuron)
    if kind == "ffn":
        return neurons > 0, neurons * costs.neuron + bias
    return present.layers, costs.kept_by_layer(present)


def _compressions(order: tuple[Removal, ...], anatomy: Anatomy) -> FloatArray:
    """Compression after 0, 1 ... len(order) removals."""
    present, costs = anatomy.present, anatomy.costs
    parameters = {UNITS[kind]: _units_there(kind, anatomy)[1] for kind in UNIT_KINDS}
    left = {"head": present.heads.sum(axis=1), "neuron": present.neurons.sum(axis=1)}
    freed = [costs.encoder - costs.kept(present)]
    for removal in order:
        if removal.index is None:
            freed.append(int(parameters[removal.kind][removal.layer]))
        else:
            left[removal.kind][removal.layer] -= 1
            bias = anatomy.hidden_size if left[removal.kind][removal.layer] == 0 else 0
            freed.append(int(parameters[removal.kind][removal.layer, removal.index]) + bias)
    return np.cumsum(freed) / costs.encoder


def _steps_at(order: tuple[Removal, ...], anatomy: Anatomy, counts: list[int]) -> tuple[Step, ...]:
    """The steps after these numbers of removals, ascending."""
    masks, done = anatomy.present, 0
    found: list[Step] = []
    for removed in counts:
        for removal in order[done:removed]:
            _strike(masks, removal)
        done = removed
        here = Masks(masks.heads.copy(), masks.neurons.copy(), masks.layers.copy())
        threshold = order[removed - 1].score if removed else -np.inf
        found.append(Step(here, threshold, anatomy.costs.compression(here), removed))
    return tuple(found)


def _strike(masks: Masks, removal: Removal) -> None:
    """Takes a unit out of the masks, in place."""
    unit = removal.layer if removal.index is None else (removal.layer, removal.index)
    if removal.kind in ("head", "attention", "layer"):
        masks.heads[unit] = False
    if removal.kind in ("neuron", "ffn", "layer"):
        masks.neurons[unit] = False
    if removal.kind == "layer":
        masks.layers[unit] = False


def _check_scores(kind: str, scores: FloatArray, there: BoolArray) -> None:
    if scores.shape != there.shape:
        raise ValueError(f"Scores of {kind} have shape {there.shape} here; given is {scores.shape}.")
    if np.isnan(scores[there]).any():
        raise ValueError(
            f"Units that are there have a score; {np.isnan(scores[there]).sum()} {kind} have NaN."
        )
