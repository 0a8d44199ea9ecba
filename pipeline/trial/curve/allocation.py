"""Allocation: which units are removed. All methods share it, so that a comparison compares methods.

Scores order the units (`removal_order`); a threshold or a target determines how many of them are removed (`choose`);
the curve goes through all of them (`curve_steps`). Masks use the numbering of the dense model. Shapes: L layers,
H heads, N neurons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import UNIT_KINDS, BoolArray, FloatArray, Masks, Scores

# The unit that an entry of each array of Scores stands for; also the order of equal scores within a layer.
UNITS = dict(zip(UNIT_KINDS, ("head", "attention", "neuron", "ffn", "layer"), strict=True))

# Of a layer on a GPU: widths that are no multiple of 8 leave the aligned kernels of half-precision products, and their
# tiles are 64 wide. Rounding up to a tile keeps half of one on average: taken where that is under 2 % of the layer.
ALIGNED, TILE = 8, 64
TILE_KEEPS = 0.02


def neurons_together(neurons: int) -> int:
    """Return in which multiples a layer with that many neurons keeps them on a GPU."""
    return TILE if TILE_KEEPS * neurons > TILE / 2 else ALIGNED


@dataclass(frozen=True)
class Removal:
    """The removal of one unit: `kind` is head, attention, neuron, ffn or layer; `index` numbers heads and neurons.

    `score` is what the unit was ranked by: with `score_per_parameter`, its score divided by its parameters.
    """

    kind: str
    layer: int
    index: int | None
    score: float


@dataclass(frozen=True)
class Step:
    """What is left after the first `removed` units of an order are removed.

    `threshold` is the score of the last of them, -inf if none was. `compression` is the removed part of the dense
    model's encoder.
    """

    masks: Masks
    threshold: float
    compression: float
    removed: int


def removal_order(
    scores: Scores,
    anatomy: Anatomy,
    *,
    score_per_parameter: bool,
    min_attention_blocks: int,
    min_heads_per_layer: int = 0,
    neurons_together: int = 1,
) -> tuple[Removal, ...]:
    """Order the present units by ascending score, so that what is left is nested.

    Equal scores are ordered by layer, kind and number. The last `min_attention_blocks` attention blocks are never
    removed (at head level, the last head of each; at layer level, its layer): a classifier without attention reads
    only its own first token.

    Args:
        scores: of all units of the anatomy.
        anatomy: of the network at hand.
        score_per_parameter: rank by score / parameters.
        min_attention_blocks: attention blocks that are always kept.
        min_heads_per_layer: heads that a layer keeps as long as it is there; attention blocks then stay.
        neurons_together: of a layer, best first, are ranked by the best of them: what is left of it is a multiple,
            unless it began as none.

    Raises:
        ValueError: the scores do not fit the anatomy, or are NaN for a present unit.
    """
    present = anatomy.present
    found: list[tuple[float, int, int, int]] = []
    for place, kind in enumerate(UNIT_KINDS):
        ranked: FloatArray | None = getattr(scores, kind)
        if ranked is not None:
            there, parameters = present_units(kind, anatomy)
            _check_scores(kind, ranked, there)
            values = ranked / np.maximum(parameters, 1) if score_per_parameter else ranked
            if kind == "neurons" and neurons_together > 1:
                values = _together(values, there, neurons_together)
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
    heads = present.heads.sum(axis=1)
    return _sparing_attention(order, heads, least=min_attention_blocks, least_heads=min_heads_per_layer)


def curve_steps(
    order: tuple[Removal, ...], anatomy: Anatomy, *, most: int = 32, include: int | None = None
) -> tuple[Step, ...]:
    """Return nested steps from nothing removed to the end of the order: all, or `most`, evenly spread in compression.

    Units of equal score are removed in one step, as under any threshold. The first and the last step are always
    included, and so is the one after `include` removals.

    Args:
        order: what `removal_order` returned for this anatomy.
        anatomy: of the network at hand.
        most: the largest number of steps, 3 or more.
        include: a number of removals, 0 ... len(order).

    Raises:
        ValueError: `most` or `include` is out of its range.
    """
    if most < 3 or (include is not None and not 0 <= include <= len(order)):
        raise ValueError(f"Steps are 3 or more and include 0 to {len(order)} removals: {most}, {include}.")
    fixed = {0, len(order)} if include is None else {0, include, len(order)}
    # A step may end after removal i only if the next unit has another score.
    ends = [i for i in range(1, len(order)) if order[i - 1].score < order[i].score]
    if len(fixed.union(ends)) <= most:
        return _steps_at(order, anatomy, sorted(fixed.union(ends)))
    compressions = _compressions(order, anatomy)
    even = np.linspace(compressions[0], compressions[-1], most - len(fixed) + 2)[1:-1]
    nearest = np.abs(compressions[ends][None, :] - even[:, None]).argmin(axis=1)
    return _steps_at(order, anatomy, sorted(fixed | {ends[i] for i in nearest}))


def choose(
    order: tuple[Removal, ...],
    anatomy: Anatomy,
    *,
    threshold: float | None = None,
    target: float | None = None,
    neurons_together: int = 1,
) -> Step:
    """Choose what is left at a threshold or at a target; exactly one of them is given.

    Args:
        order: what `removal_order` returned for this anatomy.
        anatomy: of the network at hand.
        threshold: units with this score or less are removed.
        target: compression of the dense model to reach: the first step that does, so it overshoots by less
            than one unit. If the order cannot reach it, all of it is removed.
        neurons_together: that the order was made with: they go together.

    Raises:
        ValueError: none or both are given, or a NaN.
    """
    given = [value for value in (threshold, target) if value is not None]
    if len(given) != 1 or np.isnan(given[0]):
        raise ValueError(f"Exactly one of threshold and target is a number: {threshold=}, {target=}.")
    if threshold is not None:
        removed = np.searchsorted([removal.score for removal in order], threshold, side="right")
    else:
        removed = np.searchsorted(_compressions(order, anatomy), given[0], side="left")
        while (
            neurons_together > 1
            and 0 < removed < len(order)
            and _goes_with(*order[removed - 1 : removed + 1])
        ):
            removed += 1
    return _steps_at(order, anatomy, [min(int(removed), len(order))])[0]


def _together(values: FloatArray, there: BoolArray, count: int) -> FloatArray:
    """Return scores [L, N] by groups of `count` neurons of a layer, best first: each has that of its group's best."""
    raised = values.copy()
    for layer, present in enumerate(there):
        (units,) = np.nonzero(present)
        best_first = units[np.argsort(-values[layer, units], kind="stable")]
        leaders = best_first[np.arange(len(best_first)) // count * count]
        raised[layer, best_first] = values[layer, leaders]
    return raised


def _goes_with(before: Removal, after: Removal) -> bool:
    """Return whether two neurons that follow each other are of one group, or of groups of one score."""
    return before.kind == after.kind == "neuron" and (before.layer, before.score) == (
        after.layer,
        after.score,
    )


def _sparing_attention(
    order: Iterable[Removal], heads: npt.NDArray[np.int64], *, least: int, least_heads: int = 0
) -> tuple[Removal, ...]:
    """Leave out removals that would leave fewer than `least` attention blocks, or too few heads of a layer.

    Args:
        order: by ascending score.
        heads: of each block [L].
        least: attention blocks that stay.
        least_heads: heads of a layer that stay as long as it does.
    """
    heads = heads.copy()
    blocks = int((heads > 0).sum())
    taken: list[Removal] = []
    for removal in order:
        left = heads[removal.layer]
        lost = {"head": min(1, left), "attention": left, "layer": left}.get(removal.kind, 0)
        ends_block = lost > 0 and lost == left
        spoils = removal.kind != "layer" and lost > 0 and left - lost < least_heads
        if spoils or (ends_block and blocks <= least):
            continue
        heads[removal.layer] -= lost
        blocks -= ends_block
        taken.append(removal)
    return tuple(taken)


def present_units(kind: str, anatomy: Anatomy) -> tuple[BoolArray, npt.NDArray[np.int64]]:
    """Which units of a kind are present, and the parameters of each: both in the shape of their scores.

    A head or neuron is counted without what goes with the last unit of its block: the output bias.
    """
    present, costs = anatomy.present, anatomy.costs
    heads, neurons = present.heads.sum(axis=1), present.neurons.sum(axis=1)
    if kind == "heads":
        return present.heads, np.full(present.heads.shape, costs.head)
    if kind == "attention":
        return heads > 0, heads * costs.head + np.array(costs.attention_rest)
    if kind == "neurons":
        return present.neurons, np.full(present.neurons.shape, costs.neuron)
    if kind == "ffn":
        return neurons > 0, neurons * costs.neuron + np.array(costs.ffn_rest)
    return present.layers, costs.kept_by_layer(present)


def _compressions(order: tuple[Removal, ...], anatomy: Anatomy) -> FloatArray:
    """Compression after 0, 1 ... len(order) removals."""
    present, costs = anatomy.present, anatomy.costs
    parameters = {UNITS[kind]: present_units(kind, anatomy)[1] for kind in UNIT_KINDS}
    left = {"head": present.heads.sum(axis=1), "neuron": present.neurons.sum(axis=1)}
    rest = {"head": costs.attention_rest, "neuron": costs.ffn_rest}
    freed = [costs.encoder - costs.kept(present)]
    for removal in order:
        if removal.index is None:
            freed.append(int(parameters[removal.kind][removal.layer]))
        else:
            left[removal.kind][removal.layer] -= 1
            last = left[removal.kind][removal.layer] == 0
            more = rest[removal.kind][removal.layer] if last else 0
            freed.append(int(parameters[removal.kind][removal.layer, removal.index]) + more)
    return np.cumsum(freed) / costs.encoder


def _steps_at(order: tuple[Removal, ...], anatomy: Anatomy, counts: list[int]) -> tuple[Step, ...]:
    """Return the steps after the given numbers of removals, which ascend."""
    masks, done = anatomy.present, 0
    found: list[Step] = []
    for removed in counts:
        for removal in order[done:removed]:
            _remove(masks, removal)
        done = removed
        here = Masks(masks.heads.copy(), masks.neurons.copy(), masks.layers.copy())
        threshold = order[removed - 1].score if removed else -np.inf
        found.append(Step(here, threshold, anatomy.costs.compression(here), removed))
    return tuple(found)


def _remove(masks: Masks, removal: Removal) -> None:
    """Remove a unit from the masks, in place."""
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
        raise ValueError(f"Every present unit has a score; {np.isnan(scores[there]).sum()} {kind} have NaN.")
