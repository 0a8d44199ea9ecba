"""Compiling: when it is tried, when it is kept, what a compiled step comes to, and what happens without a compiler."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pipeline.methods.base import Run
from pipeline.methods.registry import METHODS
from pipeline.model.device import forms_of_a_gpu
from pipeline.study.space import load_space
from pipeline.task.batches import encoder_inputs
from pipeline.trial.training import compilation as compiling
from pipeline.trial.training.compilation import (
    LEAST_S,
    TIMED_STEPS,
    WARM_STEPS,
    Compilation,
    can_repay,
    compiler_settings,
)
from pipeline.trial.training.loop import Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.recipe import Recipe
from tests.kit.kinds import CLASSES

RECIPE = Recipe(1e-2, 4, 0.1, 0.01, "fp32", kind=CLASSES)
PHASE = Phase("tune", 0, 0, 4, 0)
LEFT = 10_000
BEFORE, BY_TURNS = WARM_STEPS + TIMED_STEPS, 2 * TIMED_STEPS + 1  # the first compiled step is not counted


class Silent:
    """A listener that lets the loop run."""

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        pass

    def on_step(self, state: Callable[[], LoopState]) -> None:
        pass


class Steps:
    """Training by the clock: every step takes what it is given, by whether it is compiled."""

    def __init__(self, monkeypatch, *, eager_s: float, compiled_s: float) -> None:
        self.now, self.kinds = 0.0, []
        seconds = {"eager": eager_s, "compiled": compiled_s}

        class Network(nn.Linear):
            def forward(network, input_ids: torch.Tensor) -> torch.Tensor:  # noqa: N805
                self.kinds.append("eager")
                self.now += seconds["eager"]
                return input_ids

        def compiled(input_ids: torch.Tensor) -> torch.Tensor:
            self.now += 0.0 if "compiled" in self.kinds else 25.5
            self.kinds.append("compiled")
            self.now += seconds["compiled"]
            return input_ids

        monkeypatch.setattr(torch, "compile", lambda model, **options: compiled)
        self.network = Network(1, 1)

    def run(self, steps: int, *, left: int) -> Compilation:
        found = Compilation(clock=lambda: self.now)
        with found.of(self.network):
            for step in range(steps):
                with found.step(left=left - step):
                    found.forward(input_ids=torch.zeros(2, 5))
        return found


def test_what_is_can_repay_by_hand():
    assert LEAST_S == 300.0
    assert can_repay(1200, 0.25)  # 300 s
    assert not can_repay(1199, 0.25)
    assert not can_repay(90_000, 0.003)  # a tiny network: 270 s


def test_a_short_phase_is_never_compiled(monkeypatch):
    steps = Steps(monkeypatch, eager_s=0.25, compiled_s=0.01)
    left = BEFORE + 1199
    found = steps.run(100, left=left)
    assert steps.kinds == ["eager"] * 100
    assert found.facts() == {
        "compile": "off: 1199 steps left could not repay it",
        "token_seconds/eager": "0.025",
    }


def test_the_faster_kind_is_kept(monkeypatch):
    steps = Steps(monkeypatch, eager_s=0.099, compiled_s=0.071)
    found = steps.run(100, left=LEFT)
    turns = ["compiled", "eager"] * TIMED_STEPS + ["compiled"]
    assert steps.kinds == ["eager"] * BEFORE + turns + ["compiled"] * (100 - BEFORE - BY_TURNS)
    assert found.facts() == {
        "compile": "on",
        "compile_seconds": "25.6",
        "token_seconds/eager": "0.0099",
        "token_seconds/compiled": "0.0071",
    }


def test_a_slower_compiled_network_is_left(monkeypatch):
    steps = Steps(monkeypatch, eager_s=0.099, compiled_s=0.1)
    found = steps.run(100, left=LEFT)
    assert steps.kinds[BEFORE + BY_TURNS :] == ["eager"] * (100 - BEFORE - BY_TURNS)
    assert found.facts()["compile"] == "off: no faster than eager"


def test_a_phase_may_end_before_the_verdict(monkeypatch):
    steps = Steps(monkeypatch, eager_s=0.1, compiled_s=0.1)
    assert steps.run(5, left=LEFT).facts()["compile"] == "undecided: the phase was over"


@pytest.fixture
def at_once(monkeypatch) -> None:
    """The second step is compiled, however short the training."""
    for name, value in {"LEAST_S": 0.0, "WARM_STEPS": 0, "TIMED_STEPS": 1}.items():
        monkeypatch.setattr(compiling, name, value)


def snip() -> tuple[object, Run]:
    space = load_space("snip", file=None, pretrained=True)
    params = space.defaults()
    names = METHODS["snip"].__dataclass_fields__
    method = METHODS["snip"](**{name: value for name, value in params.items() if name in names})
    return method, Run(4, 10, None, torch.Generator().manual_seed(1))


@pytest.mark.long  # a C++ compiler at work for half a minute and more
@pytest.mark.filterwarnings("default")  # torch's own, of itself
@pytest.mark.parametrize("name", ["plain", "snip"])
def test_compiled_steps_are_the_eager_ones_but_for_rounding(at_once, make_model, make_split, name: str):
    """Two of four steps are compiled, of batches of other lengths, with dropout; the network is its own afterwards."""
    start, split = make_model(layers=1), make_split(rows=10)
    assert start[0].config.hidden_dropout_prob > 0
    batch, found = encoder_inputs(split.collate(split.training_order(4, seed=0)[0])), []
    for each in (None, Compilation()):
        model, anatomy = copy.deepcopy(start)
        method, run = snip() if name == "snip" else (None, None)
        Loop(model, anatomy, split, PHASE, RECIPE, Silent(), method, run, compilation=each).fit()
        found.append((model, copy.deepcopy(model)(**batch).logits))
    assert each.facts()["compile"] in ("on", "off: no faster than eager")
    assert float(each.facts()["token_seconds/compiled"]) > 0
    (eager, logits), (compiled, its_logits) = found
    assert list(eager.state_dict()) == list(compiled.state_dict())
    torch.testing.assert_close(logits, its_logits, rtol=1e-4, atol=1e-5)
    plain = dict(eager.named_parameters())
    for key, ours in compiled.named_parameters():
        if not key.endswith("key.bias"):  # no gradient but rounding, which Adam divides by its own size
            torch.testing.assert_close(ours, plain[key], rtol=1e-3, atol=1e-4)


def broken(*_: object, **__: object) -> Callable[..., object]:
    raise RuntimeError("No working C++ compiler found\n  at great length")


@pytest.mark.parametrize("compile_", [broken, lambda *_, **__: broken], ids=["at once", "at the first batch"])
def test_a_compiler_that_fails_leaves_the_training_eager(
    at_once, make_model, make_split, monkeypatch, compile_
) -> None:
    monkeypatch.setattr(torch, "compile", compile_)
    start, split, found = make_model(layers=1), make_split(rows=10), []
    for each in (None, Compilation()):
        model, anatomy = copy.deepcopy(start)
        Loop(model, anatomy, split, PHASE, RECIPE, Silent(), compilation=each).fit()
        found.append(list(model.parameters()))
    assert each.facts()["compile"] == "failed: RuntimeError: No working C++ compiler found"
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_what_the_network_itself_raises_is_raised(at_once, monkeypatch) -> None:
    """An error that is not the compiler's comes from the eager step, too."""
    steps = Steps(monkeypatch, eager_s=0.1, compiled_s=0.1)
    found = Compilation(clock=lambda: steps.now)
    with pytest.raises(TypeError), found.of(steps.network), found.step(left=1):
        found.forward(input_ids=torch.zeros(2, 5), labels=torch.zeros(2))


def test_a_gpus_few_lengths_are_compiled_one_by_one() -> None:
    cpu = torch.device("cpu")
    assert compiler_settings(cpu)["dynamic"] is True
    with forms_of_a_gpu():
        assert compiler_settings(cpu) == {"dynamic": False}
