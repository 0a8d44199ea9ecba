"""Units in the order of what a millisecond costs: their scores over the time that their removal saves.

A block's time by the number of its units is the study's table. Of each block the lower convex hull of (time saved, sum
of scores) is taken: its edges, the cheapest first, are what any budget of time buys. Edges of all blocks in the order
of their slopes solve the knapsack of one choice per block exactly at every edge (Sinha and Zoltners 1979, "The
multiple-choice knapsack problem"; the structured search of ZipLM, arXiv 2302.04089, section 3.2, solves it for one
budget), and what they leave is nested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import FloatArray
from pipeline.study.store import LatencyTable
from pipeline.trial.curve.allocation import UNITS, Removal

BLOCKS = {"head": "attention", "attention": "attention", "neuron": "ffn", "ffn": "ffn", "layer": "layer"}
TINY = 1e-9  # of a block's time: what a unit saves at least, so that none is free


def by_time(order: Sequence[Removal], anatomy: Anatomy, table: LatencyTable) -> tuple[Removal, ...]:
    """Order removals by score per millisecond; each then has that as its score.

    Units of one edge go together, and those of a block in their own order.

    Args:
        order: what `removal_order` returned for this anatomy.
        anatomy: of the network at hand.
        table: of the study.
    """
    blocks: dict[tuple[int, str], list[Removal]] = {}
    for removal in order:
        blocks.setdefault((removal.layer, BLOCKS[removal.kind]), []).append(removal)
    found: list[Removal] = []
    for removals in blocks.values():
        saved = _saved_ms(removals, anatomy, table)
        costs = np.cumsum([0.0, *(removal.score for removal in removals)])
        edges = lower_hull(saved, costs)
        for start, end in pairwise(edges):
            slope = float((costs[end] - costs[start]) / (saved[end] - saved[start]))
            found += [replace(removal, score=slope) for removal in removals[start:end]]
    kinds = list(UNITS.values())
    return tuple(sorted(found, key=lambda r: (r.score, r.layer, kinds.index(r.kind))))


def lower_hull(across: FloatArray, up: FloatArray) -> list[int]:
    """Return the places of the lower convex hull of points whose `across` rises, from the first to the last."""
    hull: list[int] = []
    for place in range(len(across)):
        while len(hull) > 1:
            one, two = hull[-2:]
            turn = (across[two] - across[one]) * (up[place] - up[one])
            if turn > (across[place] - across[one]) * (up[two] - up[one]):
                break
            hull.pop()
        hull.append(place)
    return hull


def _saved_ms(removals: Sequence[Removal], anatomy: Anatomy, table: LatencyTable) -> FloatArray:
    """Return the milliseconds saved after 0, 1 ... of a block's removals, rising."""
    first, present = removals[0], anatomy.present
    heads, neurons = int(present.heads[first.layer].sum()), int(present.neurons[first.layer].sum())
    attention_ms = np.interp(np.arange(heads + 1), table.heads, table.attention_ms)  # by heads that are there
    ffn_ms = np.interp(np.arange(neurons + 1), table.neurons, table.ffn_ms)
    whole = {
        "attention": [attention_ms[heads], attention_ms[0]],
        "ffn": [ffn_ms[neurons], ffn_ms[0]],
        "layer": [attention_ms[heads] + ffn_ms[neurons], 0.0],
        "head": attention_ms[heads - np.arange(len(removals) + 1)] if first.kind == "head" else (),
        "neuron": ffn_ms[neurons - np.arange(len(removals) + 1)] if first.kind == "neuron" else (),
    }
    times = np.asarray(whole[first.kind], dtype=np.float64)
    saved = np.maximum.accumulate(
        times[0] - times
    )  # fewer units take no longer: where they did, that was noise
    return np.asarray(saved + max(TINY * table.dense_ms, np.finfo(float).tiny) * np.arange(len(saved)))
