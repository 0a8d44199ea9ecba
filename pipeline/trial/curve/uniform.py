"""Uniform networks: whole layers go, and every layer that is left keeps as many neurons, and heads, as the others.

The library's own configuration describes such a network, so that it loads anywhere without code of ours. Scores order
groups: the neurons that rank lowest in each layer, then the second lowest ...; so with heads, where a family's
configuration can say that there are fewer; and layers. A group's score is its units' mean, weighted by parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.study.records import FloatArray, Masks, Scores
from pipeline.trial.curve.allocation import Step, present_units
from pipeline.trial.curve.ranking import CutRanking

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Group:
    """Units that go together: one of every layer (`units` [L], by kind heads or neurons), or whole layers."""

    score: float
    kind: str
    units: tuple[int, ...]  # of each layer in turn that was there; for layers: their numbers


@final
@dataclass(frozen=True, eq=False)
class UniformRanking(CutRanking):
    """Groups by ascending score."""

    groups: tuple[Group, ...]

    def at(self, *, threshold: float | None = None, target: float | None = None) -> Step:
        """Return what is left at a threshold, or once a target is reached."""
        if (threshold is None) == (target is None):
            raise ValueError(f"Exactly one of threshold and target is a number: {threshold=}, {target=}.")
        if threshold is not None:
            found = np.searchsorted([group.score for group in self.groups], threshold, side="right")
        else:
            found = np.searchsorted(self._compressions(), float(target or 0.0), side="left")
        return self._step(min(int(found), len(self.groups)))

    def choose(self, *, threshold: float | None, target: float | None, rounds_left: int) -> Step:
        """Choose as for units: before the last round an equal part of the way is gone."""
        last = self.at(threshold=threshold, target=target)
        if rounds_left == 1:
            return last
        now = self.anatomy.costs.compression(self.anatomy.present)
        return self.at(target=now + (last.compression - now) / rounds_left)

    def steps(self, *, most: int, include: Step | None = None) -> tuple[Step, ...]:
        """Return nested steps, evenly spread in compression; the first, the last and `include` are among them."""
        fixed = {0, len(self.groups)} | (set() if include is None else {include.removed})
        compressions = self._compressions()
        even = np.linspace(compressions[0], compressions[-1], max(most - len(fixed), 0) + 2)[1:-1]
        nearest = np.abs(compressions[None, :] - even[:, None]).argmin(axis=1)
        return tuple(self._step(count) for count in sorted(fixed | {int(place) for place in nearest}))

    def _step(self, count: int) -> Step:
        masks = self.anatomy.present
        there = np.flatnonzero(masks.layers)
        for group in self.groups[:count]:
            if group.kind == "layers":
                masks.layers[list(group.units)] = False
            else:
                (masks.heads if group.kind == "heads" else masks.neurons)[there, list(group.units)] = False
        masks.heads[~masks.layers] = masks.neurons[~masks.layers] = False
        threshold = self.groups[count - 1].score if count else -np.inf
        return Step(masks, threshold, self.anatomy.costs.compression(masks), count)

    def _compressions(self) -> FloatArray:
        """Compression after 0, 1 ... groups."""
        costs, present = self.anatomy.costs, self.anatomy.present
        rests = np.array([costs.attention_rest, costs.ffn_rest, costs.layer_rest]).sum(axis=0)
        layers = present.layers.copy()
        width = {
            "heads": present.heads.sum(1).max(initial=0),
            "neurons": present.neurons.sum(1).max(initial=0),
        }
        kept = []
        for group in (None, *self.groups):
            if group is not None and group.kind == "layers":
                layers[list(group.units)] = False
            elif group is not None:
                width[group.kind] -= 1
            units = width["heads"] * costs.head + width["neurons"] * costs.neuron
            kept.append(int(rests[layers].sum() + layers.sum() * units))
        return (costs.encoder - np.array(kept)) / costs.encoder


def uniform_groups(
    scores: Scores,
    model: PreTrainedModel,
    anatomy: Anatomy,
    *,
    score_per_parameter: bool,
    least_heads: int = 1,
) -> tuple[Group, ...]:
    """Group the units of a uniform network and order the groups by ascending score.

    One neuron, one head and one layer always stay, or more heads.

    Args:
        scores: of all units of the anatomy.
        model: whose configuration has the types of layers.
        anatomy: its own.
        score_per_parameter: rank by score / parameters.
        least_heads: of each layer that stay.
    """
    where = find_architecture(anatomy.architecture)
    layers = np.flatnonzero(anatomy.present.layers)
    sums, weights, groups = np.zeros(len(layers)), np.zeros(len(layers)), list[Group]()
    for kind in ("heads", "attention", "neurons", "ffn", "layers"):
        ranked: FloatArray | None = getattr(scores, kind)
        if ranked is None:
            continue
        there, parameters = present_units(kind, anatomy)
        values = np.where(there, ranked / np.maximum(parameters, 1) if score_per_parameter else ranked, 0.0)
        costs = np.where(there, parameters, 0)
        by_layer = (values * costs).reshape(len(values), -1).sum(1), costs.reshape(len(values), -1).sum(1)
        sums, weights = sums + by_layer[0][layers], weights + by_layer[1][layers]
        if kind == "neurons" or (kind == "heads" and where.plain_heads):
            least = max(1, least_heads if kind == "heads" else 1)
            groups += _widths(kind, values[layers], there[layers], least=least)
    means = sums / np.maximum(weights, 1)
    found = [
        Group(float(means[places].mean()), "layers", tuple(int(layers[place]) for place in places))
        for places in _layer_groups(model, len(layers), where.fixed_pattern)
    ]
    whole = sum(len(group.units) for group in found) == len(layers)
    found.sort(key=lambda group: group.score)
    groups += found[: len(found) - 1] if whole else found
    return tuple(sorted(groups, key=lambda group: group.score))


def _widths(kind: str, values: FloatArray, there: np.ndarray, *, least: int) -> list[Group]:
    """Return groups of one unit of each layer: the lowest of each, the second lowest ...; the best ones stay."""
    count = int(there.sum(axis=1).min(initial=there.shape[1]))
    order = np.argsort(np.where(there, values, np.inf), axis=1, kind="stable")[:, : max(count - least, 0)]
    ranked = np.take_along_axis(values, order, axis=1).mean(axis=0)
    return [
        Group(float(score), kind, tuple(units.tolist())) for score, units in zip(ranked, order.T, strict=True)
    ]


def _layer_groups(model: PreTrainedModel, count: int, fixed_pattern: bool) -> list[list[int]]:
    """Return the places of layers that may go together.

    Where types of layers follow from their places, and the first layer is built otherwise, whole periods go after it.
    """
    if not fixed_pattern:
        return [[place] for place in range(count)]
    types = list(model.config.layer_types)
    period = next((p for p in range(1, count) if types[p:] == types[:-p]), count)
    return [list(range(start, start + period)) for start in range(1, count - period + 1, period)]


def is_uniform(masks: Masks, *, fewer_heads: bool) -> bool:
    """Return whether layers that are there keep the same numbers of neurons and heads, one or more.

    Args:
        masks: of one network.
        fewer_heads: whether its family's configuration can say that there are fewer heads; else all are kept.
    """
    heads, neurons = masks.heads[masks.layers].sum(axis=1), masks.neurons[masks.layers].sum(axis=1)
    if not len(heads):
        return False
    same = (heads == heads[0]).all() and (neurons == neurons[0]).all() and heads[0] > 0 and neurons[0] > 0
    return bool(same) and (fewer_heads or int(heads[0]) == masks.heads.shape[1])
