"""What a training step launches on a GPU, counted on a CPU: python -m tests.benchmarks.counts [METHOD ...]

A BERT of 12 narrow layers: operators do not depend on the width. bf16, padded rows, dropout, the forms that the code
takes on a GPU; every method at its defaults. Operators that are no views stand for kernels; host reads make the host
wait for the device. Both are means over the steps between the first and the last but one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from pipeline.methods.base import Run
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import read_anatomy
from pipeline.study.records import Params
from pipeline.trial.conformance.counting import Counts, counted
from pipeline.trial.training.loop import Listener, Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.recipe import Recipe
from pipeline.trial.training.update import make_capturable
from tests.benchmarks import subject
from tests.benchmarks.subject import CLASSES

STEPS, ROWS, BATCH = 10, 64, 4
LAYERS, HEADS, WIDTH, WORDS = 12, 12, 48, 30_522
COPIES = 1  # of the batch, which is one buffer, into the graph's place


@dataclass
class Between(Listener):
    """Counts from the end of the first step to that of the last but one."""

    counts: Counts
    done: int = 0

    def on_step(self, state: Callable[[], LoopState]) -> None:
        """Switches the counts."""
        del state
        self.done += 1
        self.counts.on = 1 <= self.done < STEPS - 1


def count(name: str | None, params: Params | None = None, *, replayed: bool = False) -> Counts:
    """Operators and host reads of STEPS - 2 steps under a method; None: plain.

    `replayed`: without those that a graph stands for.
    """
    with counted(on=False) as counts:
        loop = loop_of(name, params, Between(counts))
        if replayed:
            make = loop._make_step
            loop._make_step = lambda: _replayed(loop, counts) or make()  # type: ignore[method-assign]
        loop.fit()
    return counts


def loop_of(name: str | None, params: Params | None, listener: Listener, *, seed: int = 0) -> Loop:
    """A training of STEPS steps under a method; None: plain."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        attention_probs_dropout_prob=0.0,  # with it a CPU's attention is no single kernel
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    method = None if name is None else subject.fresh(name, params or subject.defaults(name))
    run = None if method is None else Run(STEPS, ROWS, 0.5, torch.Generator().manual_seed(0), 0.1)
    recipe = Recipe(1e-5, BATCH, 0.1, 0.01, "bf16", kind=CLASSES)
    phase = Phase("tune", 0, 0, STEPS, seed)
    return Loop(model, read_anatomy(model), subject.rows(ROWS, seed=0), phase, recipe, listener, method, run)


def _replayed(loop: Loop, counts: Counts) -> Callable[[Any], None] | None:
    """A step whose graph holds all of it, uncounted; where that cannot be, its passes are uncounted."""
    if make_capturable(loop._optimizer, loop._device):
        whole = _uncounted(loop._whole_step, counts)
        return lambda batch: loop._end(whole(batch))
    if loop.method is not None and loop.method.splits:
        replay, passes = loop.method.replay, _uncounted(partial(loop._backward, share=1.0), counts)
        loop.method.leaves()
        return lambda batch: loop._advance(replay(passes, batch))
    loop._backward = _uncounted(loop._backward, counts)  # type: ignore[method-assign]
    return None


def _uncounted(work: Callable[..., Any], counts: Counts) -> Callable[..., Any]:
    def run(*args: Any, **more: Any) -> Any:
        before, counts.on = counts.on, False
        try:
            return work(*args, **more)
        finally:
            counts.on = before

    return run


def cases() -> dict[str, tuple[str, Params]]:
    """Every method at its defaults, and SNIP's four forms."""
    found = {name: (name, subject.defaults(name)) for name in METHODS if not METHODS[name].needs_fit}
    for level in ("head", "block"):
        for bound in ("off", "relative"):
            params = subject.defaults("snip", level=level, spectral_bound=bound)
            found[f"snip, {level}, bound {bound}"] = ("snip", params)
    return found


def row(what: str, found: Counts, plain: Counts, rest: Counts | None) -> str:
    """A row of the table; `rest` is what a graph leaves, without itself and the copy of the batch into its place."""
    steps = STEPS - 2
    kernels, ratio = found.kernels / steps, found.kernels / plain.kernels
    replayed = "-" if rest is None else f"{rest.kernels / steps + 1 + COPIES:.0f}"
    return f"| {what} | {kernels:,.0f} | {ratio:.2f} | {found.reads.total() / steps:g} | {replayed} |"


def main() -> None:
    """Prints a row for each."""
    plain = count(None)
    print(
        "| step | kernels | / plain | host reads | launches with a graph |", "|---|---|---|---|---|", sep="\n"
    )
    print(row("plain", plain, plain, count(None, replayed=True)), flush=True)
    for what, (name, params) in cases().items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        found = count(name, params)
        held = METHODS[name].replays or METHODS[name].splits
        rest = count(name, params, replayed=True) if held else None
        places = (f"  waits in {place}" for place in found.reads)
        print(row(what, found, plain, rest), *places, sep="\n", flush=True)


if __name__ == "__main__":
    main()
