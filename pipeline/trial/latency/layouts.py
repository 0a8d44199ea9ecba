"""The networks that are run to make a latency table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Masks

HEAD_STEPS = 16  # numbers of heads in a table, at most; between them latency is interpolated linearly
NEURON_SHARES = (0.0, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
WHOLE_SHARES = (
    1 / 16,
    1 / 8,
    1 / 4,
    1 / 2,
    3 / 4,
)  # of heads and neurons, in the networks that are timed as a whole


def grids(anatomy: Anatomy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of heads and of neurons in a table: 0, 1, all, and steps between."""
    most, neurons = anatomy.heads_per_layer, anatomy.neurons_per_layer
    steps = np.linspace(0, most, min(most, HEAD_STEPS) + 1)
    head_grid = {1, *(round(step) for step in steps)}
    neuron_grid = {0, *(_odd(share * neurons, neurons) for share in NEURON_SHARES)}
    return tuple(sorted(head_grid)), tuple(sorted(neuron_grid))


def mixed_layouts(anatomy: Anatomy) -> list[Masks]:
    """Return networks whose layers together have every number of heads and of neurons in a table, in mixed order."""
    generator = np.random.default_rng(0)
    layers = anatomy.dense_layers
    # without the largest number, which the dense network has
    heads, neurons = (generator.permutation(grid[:-1]) for grid in grids(anatomy))
    count = -(-max(len(heads), len(neurons)) // layers)
    rows = [np.resize(values, (count, layers)) for values in (heads, neurons)]
    return [_first(anatomy, *kept) for kept in zip(*rows, strict=True)]


def whole_layouts(anatomy: Anatomy) -> list[Masks]:
    """Return networks from one without layers over one without blocks to the dense one, cut as searches cut.

    A network that keeps the share p of heads and neurons has √p of the blocks; each of these keeps √p of its units on
    average, some few, some many.
    """
    generator = np.random.default_rng(1)
    layers, heads, neurons = anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer
    full = anatomy.present
    nothing = Masks(full.heads & False, full.neurons & False, full.layers)
    found = [replace(nothing, layers=full.layers & False), nothing]
    for share in WHOLE_SHARES:
        root = share**0.5
        there = max(1, round(root * layers))
        low = max(0.0, 2 * root - 1)
        shares = np.zeros(layers)
        shares[:there] = low + (2 * root - 2 * low) * (np.arange(there) + 0.5) / there
        kept = [round(part * heads) for part in generator.permutation(shares)]
        odd = [_odd(part * neurons, neurons) if part else 0 for part in generator.permutation(shares)]
        found.append(_first(anatomy, kept, odd))
    return [*found, full]


def _first(anatomy: Anatomy, heads: Sequence[int], neurons: Sequence[int]) -> Masks:
    """Masks of the first `heads` and `neurons` of each layer, as far as they are there; all layers are kept."""
    return anatomy.present & Masks(
        np.arange(anatomy.heads_per_layer) < np.asarray(heads)[:, None],
        np.arange(anatomy.neurons_per_layer) < np.asarray(neurons)[:, None],
        np.ones(anatomy.dense_layers, bool),
    )


def _odd(count: float, most: int) -> int:
    # cuts mostly leave odd numbers; on round ones matrix products are faster than on their neighbours
    return min(round(count) | 1, most)
