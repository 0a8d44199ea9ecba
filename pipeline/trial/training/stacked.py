"""Training of several networks of one shape at once: one forward and one backward pass for all of them.

A small network's step is bound by its launches, not by its work: K networks whose parameters are stacked (torch.func,
vmap) are trained for little more than the launches of one. Each has its own loop: its batches, recipe, method,
optimizer and listener are those it has alone, and it becomes what it would be alone, within rounding and draws of
dropout. Loops may be of different length: the longest come first, so that those that are left are always the first of
the stack.

Shapes: K networks, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import final

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.model.device import waits_cost
from pipeline.task.batches import Batch, Feed, encoder_inputs
from pipeline.trial.training.loop import Loop, TrainingFailed
from pipeline.trial.training.precision import HALF, autocast, gpu_kernels
from pipeline.trial.training.stack import Stack, part
from pipeline.trial.training.step_graphs import Capture, Outputs, capture_on, make_graphs

Failed = dict[int, TrainingFailed]  # by a loop's place
PARTS = 2  # what the loss of a loop that can be stacked is made of: task loss and penalty


def can_be_stacked(loop: Loop) -> bool:
    """Return whether a loop's forward pass may be one of a stack: what it does beside only looks at the network."""
    recipe = loop.recipe
    watched = loop.method is None or loop.method.replays
    plain = recipe.parts == 1 and not recipe.checkpointing and recipe.precision != "fp16"
    return watched and plain and loop.distillation is None and loop.compilation is None


@final
class StackedTraining:
    """Loops whose networks are trained as one stack; those that see the same batches also have the same dropout."""

    def __init__(self, loops: Sequence[Loop], *, capture: Capture | None = None) -> None:
        """Take the loops: from their first step on, of networks of one shape, on the same rows and device.

        Args:
            loops: that can be stacked.
            capture: how steps become graphs; None: as CUDA graphs on a GPU, not elsewhere.
        """
        self._places = sorted(range(len(loops)), key=lambda place: -loops[place].phase.steps)
        self._loops = [loops[place] for place in self._places]
        self._device = next(loops[0].model.parameters()).device
        phases = {(loop.phase.seed, loop.phase.first, loop.phase.steps) for loop in loops}
        self._alike = len(phases) == 1
        self._capture = capture
        self._failed: Failed = {}
        self._nothing = torch.zeros(PARTS, device=self._device)
        self._rows: dict[int, list[int]] = {}  # of each loop's batch, by step

    def fit(self) -> Failed:
        """Train all phases to their ends; return those that failed, by their place among the given loops.

        Raises:
            RuntimeError: vmap has no rule for what the networks compute, or the device has too little memory.
        """
        loops, failed = self._loops, self._failed
        precision = loops[0].recipe.precision
        feed = Feed(self._batch, self._device, ahead=waits_cost(self._device))
        with ExitStack() as outer:
            outer.callback(feed.close)
            outer.enter_context(gpu_kernels(self._device, precision))
            begun = [outer.enter_context(ExitStack()) for _ in loops]
            for each, loop in zip(begun, loops, strict=True):
                each.enter_context(loop.begun())
            self._stack = Stack(
                [loop.model for loop in loops],
                HALF.get(precision),
                randomness="same" if self._alike else "different",
            )
            parameters = [parameter for loop in loops for parameter in loop.parameters]
            capture = capture_on(self._device, self._capture)
            graphs = capture and make_graphs(self._gradients, parameters, capture, self._device)
            for step in range(loops[0].phase.steps):
                batch = feed.get(step, last=loops[0].phase.steps - 1)
                rows = self._rows.pop(step, [])
                if graphs is None or len(set(rows)) > 1:
                    (found,) = self._gradients(batch, rows)
                else:
                    (found,) = graphs.run(batch)
                for place, (loop, parts) in enumerate(zip(self._left(step), found, strict=True)):
                    if place in failed:
                        continue
                    try:
                        loop.end_step(parts.unbind())
                    except TrainingFailed as failure:
                        failed[place] = failure
                        with suppress(TrainingFailed), begun[place]:  # its method only takes its hooks away
                            raise
                    if loop.done == loop.phase.steps and place not in failed:
                        begun[place].close()
                if all(place in failed for place in range(len(self._left(step + 1)))):
                    break
        return {self._places[place]: failure for place, failure in failed.items()}

    def _gradients(self, batch: Batch, rows: Sequence[int] = ()) -> Outputs:
        """Give all networks their gradients; return what their losses are made of, [K, parts].

        `rows` has the number of rows of each loop that are its own; empty: all are.
        """
        loops = self._loops if self._alike else self._loops[: len(batch["labels"])]
        precision = loops[0].recipe.precision
        # vmap has no rule for a CPU's fused attention
        attention = nullcontext() if self._device.type == "cuda" else sdpa_kernel(SDPBackend.MATH)
        with autocast(self._device, precision), attention:
            outputs = self._stack.forward(encoder_inputs(batch), len(loops), shared=self._alike, rows=rows)
        totals, found = [], []
        for place, (loop, output) in enumerate(zip(loops, outputs, strict=True)):
            if place in self._failed:
                found.append(self._nothing)
                continue
            own = batch if self._alike else part(batch, place, rows)
            total, parts = loop.loss_of(own, lambda output=output, **_: output)
            totals.append(total)
            found.append(torch.stack(parts))
        torch.stack(totals).sum().backward()  # type: ignore[no-untyped-call]
        self._stack.take_gradients()
        return (torch.stack(found),)

    def _left(self, step: int) -> Sequence[Loop]:
        """Return the loops that make a step."""
        return [loop for loop in self._loops if step < loop.phase.steps]

    def _batch(self, step: int) -> Batch:
        """Return the rows of all loops that make a step, [K, B, ...]; those of the first if all see the same.

        An epoch's smaller batch, which comes anywhere in it, is filled up; what is computed of that is left out.
        """
        loops = self._left(step)
        if self._alike:
            return loops[0].stream.batch(loops[0].phase.first + step)
        rows = [loop.stream.rows(loop.phase.first + step) for loop in loops]
        self._rows[step] = [len(its) for its in rows]
        most = max(self._rows[step])
        filled = [np.concatenate([its, np.repeat(its[:1], most - len(its))]) for its in rows]
        batch = loops[0].stream.collate(np.concatenate(filled))  # one length and one mask for all
        return {
            name: value.view(len(loops), -1, *value.shape[1:]) if value.numel() else value
            for name, value in batch.items()
        }
