"""A look ahead in mid-training: what a trial's curve would be if it ended here.

The network as trained so far is copied, the method's state is taken up by a fresh instance, as when a trial goes on
from a checkpoint, and the copy is scored and cut step by step, on a part of validation. Network, method, optimizer
and random numbers of the trial stay as they were: a trial that is looked at gives the record of one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.allocation import curve_steps, removal_order
from pipeline.anatomy import Anatomy
from pipeline.batches import Batch, Split
from pipeline.curve import Examine, walk
from pipeline.methods import PruningMethod, Run
from pipeline.phases import Phase
from pipeline.records import Measurement, Params, Rung

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RUNG_STEPS = 8  # networks of a rung's curve
RUNG_ROWS = 512  # of validation: the standard error of an accuracy is then at most 2.2 points

# A new network of the trial's kind on its device, cut as the trial's is, and its anatomy.
Rebuild = Callable[[], tuple["PreTrainedModel", Anatomy]]


def rung_steps(phases: Sequence[Phase], fractions: Iterable[float]) -> dict[int, int]:
    """Steps of a trial's stream of batches -> the rung that comes after them.

    A rung is a fraction of all the steps that a trial trains, so that trials of different length compare. One that
    falls on a cut comes a step before it.
    """
    total, cuts = phases[-1].end, {phase.end for phase in phases}
    steps = {round(fraction * total): index for index, fraction in enumerate(fractions)}
    steps = {(step - 1 if step in cuts else step): index for step, index in steps.items()}
    return {step: index for step, index in steps.items() if 0 < step < total}


def part_of(validation: Split) -> Split:
    """The rows that rungs are measured on: RUNG_ROWS of them, evenly spread, the same for all trials."""
    if len(validation) <= RUNG_ROWS:
        return validation
    return validation.take(np.linspace(0, len(validation) - 1, RUNG_ROWS).round().astype(np.int64))


def scored_copy(
    model: PreTrainedModel,
    rebuild: Rebuild,
    *,
    method: PruningMethod,
    fresh: PruningMethod,
    run: Run,
) -> tuple[PreTrainedModel, Anatomy]:
    """The network as its forward pass is now, baked, and apart from the one in training.

    `fresh` is a new instance of `method` with the same settings; it has looked at the copy when this returns.
    """
    copied, anatomy = rebuild()
    fresh.load(method.state())
    optimizer = torch.optim.SGD(copied.parameters(), lr=0.0)
    with fresh.watch(copied, anatomy, optimizer, run):  # leaving it bakes what the method's hooks do
        copied.load_state_dict(model.state_dict())
    copied.eval()  # type: ignore[no-untyped-call]
    return copied, anatomy


def curve_at(
    index: int,
    epoch: float,
    *,
    model: PreTrainedModel,
    anatomy: Anatomy,
    method: PruningMethod,
    calibration: Iterable[Batch],
    params: Params,
    examine: Examine,
    rows: int,
    zeros: bool,
) -> Rung:
    """The curve of a network at a rung: scored as at the end of a round, few steps, few rows."""
    order = removal_order(
        method.score(model, anatomy, calibration),
        anatomy,
        score_per_parameter=bool(params["score_per_parameter"]),
        min_attention_blocks=int(params["min_attention_blocks"]),
    )
    steps = curve_steps(order, anatomy, most=RUNG_STEPS)
    found = [measured for _, _, measured in walk(model, anatomy, steps, examine)]
    return rung_of(index, epoch, found, rows=rows, zeros=zeros)


def rung_of(index: int, epoch: float, found: Sequence[Measurement], *, rows: int, zeros: bool) -> Rung:
    """What a trial shows; of single weights (`zeros`) it is their sparsity that counts."""
    shares = tuple(m.sparsity if zeros else m.compression for m in found)
    return Rung(index, epoch, rows, tuple(m.metric for m in found), shares)
