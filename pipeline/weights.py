"""Single weights: which matrices are ranked, what stays of them at a sparsity, and their scores lifted to units.

Shapes: L layers, H heads of k features, N neurons, d hidden features; a matrix has the shape that it has in the
network at hand, which may have been cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pipeline.anatomy import Anatomy
from pipeline.records import Scores

Matrices = dict[str, Tensor]  # by "layer.matrix", numbered as in the dense model


def matrices(anatomy: Anatomy) -> Matrices:
    """The six weight matrices of every layer that is there; no biases, no embeddings, no head."""
    found: Matrices = {}
    for part in anatomy.layers:
        for name, linear in (
            ("query", part.query),
            ("key", part.key),
            ("value", part.value),
            ("attention_output", part.attention_output),
            ("ffn_in", part.ffn_in),
            ("ffn_out", part.ffn_out),
        ):
            if linear is not None:
                found[f"{part.index}.{name}"] = linear.weight
    return found


@torch.no_grad()
def lowest(scores: Mapping[str, Tensor], count: int) -> Matrices:
    """Bool masks without the `count` weights of the lowest scores, all matrices together; equal ones go together.

    A threshold is found once, by selection, not by sorting.
    """
    if count <= 0 or not scores:
        return {name: torch.ones_like(values, dtype=torch.bool) for name, values in scores.items()}
    everything = torch.cat([values.flatten() for values in scores.values()])
    threshold = everything.kthvalue(min(count, len(everything))).values
    return {name: values > threshold for name, values in scores.items()}


def count_to_remove(anatomy: Anatomy, sparsity: float) -> int:
    """How many weights of the network at hand go, so that with what is cut this part of the dense encoder is gone."""
    costs = anatomy.costs
    return math.ceil(sparsity * costs.encoder) - (costs.encoder - costs.kept(anatomy.present))


@torch.no_grad()
def lift(scores: Mapping[str, Tensor], anatomy: Anatomy) -> Scores:
    """Scores of heads and neurons: the sum over a unit's weights; NaN for units that are gone.

    A head has rows of query, key and value, and columns of the output; a neuron a row and a column.
    """
    heads = np.full((anatomy.dense_layers, anatomy.heads_per_layer), np.nan)
    neurons = np.full((anatomy.dense_layers, anatomy.neurons_per_layer), np.nan)
    for part in anatomy.layers:
        i = part.index
        if len(part.heads):
            rows = torch.stack(
                [scores[f"{i}.{name}"].double().sum(1) for name in ("query", "key", "value")]
            ).sum(0)
            total = rows + scores[f"{i}.attention_output"].double().sum(0)
            heads[i, part.heads] = total.reshape(len(part.heads), -1).sum(1).cpu().numpy()
        if len(part.neurons):
            total = scores[f"{i}.ffn_in"].double().sum(1) + scores[f"{i}.ffn_out"].double().sum(0)
            neurons[i, part.neurons] = total.cpu().numpy()
    return Scores(heads=heads, neurons=neurons)
