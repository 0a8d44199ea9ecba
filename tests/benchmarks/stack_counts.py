"""Launches of a trial that is tuned with others as one stack, counted on a CPU: python -m tests.benchmarks.stack_counts

The network and the steps of `counts`; every trial has batches, a method, an optimizer of its own. Attention is
computed in separate products in both, since vmap has no rule for a CPU's fused one; on a GPU both are less.
"""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.trial.conformance.counting import counted
from pipeline.trial.training.listener import Listener
from pipeline.trial.training.stacked import StackedTraining
from tests.benchmarks import counts as single
from tests.benchmarks import subject

SIZES = (2, 4, 8)
CASES = {
    "plain": None,
    "SNIP, heads": {"level": "head", "spectral_bound": "off"},
    "SNIP, heads, relative bound": {"level": "head", "spectral_bound": "relative"},
    "SNIP, blocks": {"level": "block", "spectral_bound": "off"},
}


def stacked(name: str | None, params: subject.Params | None, size: int) -> float:
    """Launches per trial and step of a stack."""
    with counted(on=False) as found:
        loops = [single.loop_of(name, params, Listener(), seed=seed) for seed in range(size)]
        loops[0].listener = single.Between(found)
        StackedTraining(loops).fit()
    return found.kernels / (single.STEPS - 2) / size


def alone(name: str | None, params: subject.Params | None) -> float:
    """Launches per step of a trial alone."""
    with counted(on=False) as found, sdpa_kernel(SDPBackend.MATH):
        single.loop_of(name, params, single.Between(found)).fit()
    return found.kernels / (single.STEPS - 2)


def main() -> None:
    """Prints a row for each."""
    torch.set_num_threads(1)
    print("| step | alone |", " | ".join(f"of {size}" for size in SIZES), "|")
    print("|---|---|" + "---|" * len(SIZES))
    for what, changes in CASES.items():
        name = None if changes is None else "snip"
        params = None if changes is None else subject.defaults("snip", **changes)
        one = alone(name, params)
        cells = [f"{each:,.0f} ({each / one:.2f})" for each in (stacked(name, params, k) for k in SIZES)]
        print(f"| {what} | {one:,.0f} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
