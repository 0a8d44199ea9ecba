"""Single weights: which matrices are ranked, what stays of them at a sparsity, and their scores lifted to units.

A weight that is zero is gone: the network itself shows which weights are there, after a checkpoint, too.

Shapes: L layers, H heads of k features, N neurons, d hidden features; a matrix has the shape that it has in the
network at hand, which may have been cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.model.layer_parts import unit_sums
from pipeline.study.records import Scores

Matrices = dict[str, Tensor]  # by "layer.matrix", numbered as in the dense model
Scope = Literal[
    "matrix", "network"
]  # of a ranking: each matrix loses the same share, or all are ranked together


def matrices(anatomy: Anatomy) -> Matrices:
    """Return the weight matrices of every layer that is there, as they are stored; no biases, embeddings, head."""
    return {
        f"{part.index}.{name}": linear.weight for part in anatomy.layers for name, linear in part.maps.items()
    }


@torch.no_grad()
def lowest(scores: Mapping[str, Tensor], count: int) -> Matrices:
    """Return masks without the `count` weights of the lowest scores, all matrices together; equal ones go together."""
    if count <= 0 or not scores:
        return {name: torch.ones_like(values, dtype=torch.bool) for name, values in scores.items()}
    everything = torch.cat([values.flatten() for values in scores.values()])
    place = min(count, len(everything))
    if waits_cost(everything.device):
        threshold = ascending_values(everything.unsqueeze(0), torch.tensor([place]))[0]
    else:
        threshold = _ascending(everything, place)
    return {name: values > threshold for name, values in scores.items()}


@torch.no_grad()
def lowest_of_each(scores: Mapping[str, Tensor], share: float) -> Matrices:
    """Return masks without exactly the lowest `share` of each matrix; of equal ones the first go."""
    if any(waits_cost(values.device) for values in scores.values()):
        return _lowest_of_each_stacked(scores, share)
    return {
        name: _highest(values, values.numel() - round(share * values.numel()))
        for name, values in scores.items()
    }


@torch.no_grad()
def above_or_highest(scores: Mapping[str, Tensor], least: float, share: float) -> Matrices:
    """Return masks of what lies above `least`, and of a small `share` of each matrix, its highest, in any case.

    All matrices of one size are looked through together, without waiting for the device; of equal weights any are
    taken. Masks are 1 and 0, of the scores' type.
    """
    masks: Matrices = {}
    for size, names in _by_size(scores).items():
        flat = torch.stack([scores[name].flatten() for name in names])
        places = flat.topk(size - round((1.0 - share) * size), dim=1, sorted=False).indices
        found = (flat > least).scatter_(1, places, True).to(flat.dtype)
        masks |= {name: mask.view_as(scores[name]) for name, mask in zip(names, found, strict=True)}
    return {name: masks[name] for name in scores}


def _by_size(scores: Mapping[str, Tensor]) -> dict[int, list[str]]:
    sizes: dict[int, list[str]] = {}
    for name, values in scores.items():
        sizes.setdefault(values.numel(), []).append(name)
    return sizes


def _highest(values: Tensor, count: int) -> Tensor:
    """Return a mask [...] of the `count` highest."""
    flat = values.flatten()
    if count <= 0 or count >= len(flat):
        return torch.full_like(values, count > 0, dtype=torch.bool)
    least = _ascending(flat, len(flat) - count + 1)
    mask = flat >= least
    above = int(mask.count_nonzero()) - count
    if above:
        mask[_places(flat == least)[:above]] = False
    return mask.view_as(values)


def _places(mask: Tensor) -> Tensor:
    """Return the indices of the set entries of a flat mask on a CPU, [n]; numpy is five times as fast as torch."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def _ascending(values: Tensor, place: int) -> Tensor:
    """Return the value [] at a place, from 1, in ascending order, on a CPU; by selection, not by sorting.

    Methods on single weights need it at every step, and numpy selects ten times as fast as torch.
    """
    if values.dtype != torch.float32:
        return values.kthvalue(place).values
    return torch.from_numpy(np.partition(values.detach().numpy(), place - 1)[place - 1 : place])[0]


def _lowest_of_each_stacked(scores: Mapping[str, Tensor], share: float) -> Matrices:
    """Do what `lowest_of_each` does, on all matrices of one size together, without waiting for the device."""
    masks: Matrices = {}
    for size, names in _by_size(scores).items():
        gone = round(share * size)
        flat = torch.stack([scores[name].flatten() for name in names])
        found = _without_lowest(flat, min(max(gone, 0), size))
        masks |= {name: mask.view_as(scores[name]) for name, mask in zip(names, found, strict=True)}
    return {name: masks[name] for name in scores}


def _without_lowest(values: Tensor, count: int) -> Tensor:
    """Return masks [G, n] without exactly the `count` lowest of each row; of equal ones the first go."""
    if count in (0, values.shape[1]):
        return torch.full_like(values, not count, dtype=torch.bool)
    last = ascending_values(values, torch.full((len(values),), count)).unsqueeze(1)  # that goes
    equal = values == last
    left = count - (values < last).sum(dim=1, keepdim=True)  # to go among the equal ones
    return (values > last) | (equal & (equal.cumsum(dim=1) > left))


def ascending_values(values: Tensor, places: Tensor) -> Tensor:
    """Return the value [G] at each row's place, from 1, in ascending order, exactly, without waiting for the device.

    By bisection on the bits of fp32: 32 passes over `values`. On a GPU torch's kthvalue gives a row to one block
    (pytorch issue 75599), and a sort writes everything several times.

    Args:
        values: [G, n]
        places: [G] int64
    """
    bits = values.float().view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the numbers
    places = places.to(values.device, non_blocking=True)
    found = torch.full_like(places, -(2**31))
    for bit in range(31, -1, -1):
        higher = found + 2**bit
        below = (ordered < higher.to(torch.int32).unsqueeze(1)).sum(dim=1)
        found = torch.where(below < places, higher, found)
    found = found.to(torch.int32)
    return (found ^ ((found >> 31) & 0x7FFFFFFF)).view(torch.float32).to(values.dtype)


@torch.no_grad()
def shares(scores: Mapping[str, Tensor]) -> Matrices:
    """Return scores as ranks within their matrix, (0, 1], 1 for the highest: the share that goes when a weight goes."""
    found: Matrices = {}
    for name, values in scores.items():
        order = values.flatten().argsort(stable=True)
        ranks = torch.empty_like(order, dtype=torch.float32)
        ranks[order] = torch.arange(1, len(order) + 1, device=order.device, dtype=torch.float32) / len(order)
        found[name] = ranks.view_as(values)
    return found


@torch.no_grad()
def zero(weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], threshold: float) -> None:
    """Set weights to zero, in place, whose score is the threshold or less."""
    if threshold == -math.inf:
        return
    for name, values in scores.items():
        weights[name].mul_((values > threshold).to(weights[name].device))


@contextmanager
def holding_zeros(anatomy: Anatomy, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Keep weights at zero that are zero before the first step: moments and decay would move them."""
    weights = list(matrices(anatomy).values())
    masks: list[Tensor] = []  # of the weights' type, so that all are multiplied in a kernel or two

    def before(_optimizer: torch.optim.Optimizer, _args: object, _kwargs: object) -> None:
        if not masks:
            masks.extend((weight.detach() != 0).to(weight.dtype) for weight in weights)

    def after(_optimizer: torch.optim.Optimizer, _args: object, _kwargs: object) -> None:
        with torch.no_grad():
            torch._foreach_mul_(weights, masks)

    hooks = (optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def count_to_remove(anatomy: Anatomy, sparsity: float) -> int:
    """Count the weights to remove here, so that with what is cut this part of the dense encoder is gone."""
    costs = anatomy.costs
    return math.ceil(sparsity * costs.encoder) - (costs.encoder - costs.kept(anatomy.present))


@torch.no_grad()
def lift(scores: Mapping[str, Tensor], anatomy: Anatomy) -> Scores:
    """Return scores of heads and neurons: the sum over a unit's weights; NaN for units that are gone.

    Of a BERT a head has rows of query, key and value, and columns of the output; a neuron a row and a column.
    """
    heads = np.full((anatomy.dense_layers, anatomy.heads_per_layer), np.nan)
    neurons = np.full((anatomy.dense_layers, anatomy.neurons_per_layer), np.nan)
    for part in anatomy.layers:
        for block, found, units in ((part.attention, heads, part.heads), (part.ffn, neurons, part.neurons)):
            if block is not None:
                values = {name: scores[f"{part.index}.{name}"] for name in block.maps}
                found[part.index, units] = unit_sums(block, values, len(units)).cpu().numpy()
    return Scores(heads=heads, neurons=neurons)
