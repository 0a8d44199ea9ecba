"""Whether a step makes the host wait for a GPU, for each kind of layer; counted on a CPU, in the forms of a GPU."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pipeline.trial.conformance.counting import Counts, counted
from pipeline.trial.conformance.networks import STRUCTURES, tiny_network, tiny_rows
from pipeline.trial.training.loop import Listener, Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.recipe import Recipe
from tests.kit.kinds import CLASSES

STEPS = 4
# Their models look at the mask in each eager pass, since windows or causal masks follow from it; while a graph is
# captured they do not look.
LOOKING = ("modernbert", "qwen3", "gpt2")


@dataclass
class Middle(Listener):
    counts: Counts
    done: int = 0

    def on_step(self, state: Callable[[], LoopState]) -> None:
        self.done += 1
        self.counts.on = self.done < STEPS - 1


@pytest.mark.parametrize("kind", [kind for kind in STRUCTURES if kind not in LOOKING])
def test_a_step_on_padded_rows_waits_for_nothing(kind: str):
    recipe = Recipe(1e-3, 3, 0.1, 0.01, "fp32", kind=CLASSES)
    with counted(on=False) as counts:
        network, rows, phase = tiny_network(kind), tiny_rows(kind), Phase("tune", 0, 0, STEPS, 3)
        Loop(*network, rows, phase, recipe, Middle(counts)).fit()
    assert counts.kernels > 0
    assert not counts.reads
