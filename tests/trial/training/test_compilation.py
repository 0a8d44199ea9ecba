"""Compiling: when it is tried, when it is kept, what a compiled step comes to, and what happens without a compiler."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.methods.base import Run
from pipeline.methods.registry import METHODS
from pipeline.model.device import forms_of_a_gpu
from pipeline.study.space import load_space
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_network, tiny_rows
from pipeline.trial.conformance.recorded import recorded
from pipeline.trial.training import compilation as compiling
from pipeline.trial.training import loop as loop_module
from pipeline.trial.training import step_graphs
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
from pipeline.trial.training.step_graphs import StepGraphs
from tests.kit.kinds import CLASSES

RECIPE = Recipe(1e-2, 4, 0.1, 0.01, "fp32", kind=CLASSES)
PHASE = Phase("tune", 0, 0, 4, 0)
LEFT = 10_000
INPUTS = {"input_ids": torch.zeros(2, 5)}
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
                with found.step(INPUTS, left=left - step):
                    found.forward(**INPUTS)
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


def fields_of(method: str) -> dict[str, object]:
    params = load_space(method, file=None, pretrained=True).defaults()
    return {name: value for name, value in params.items() if name in METHODS[method].__dataclass_fields__}


def snip() -> tuple[object, Run]:
    return METHODS["snip"](**fields_of("snip")), Run(4, 10, None, torch.Generator().manual_seed(1))


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
    with pytest.raises(TypeError), found.of(steps.network), found.step(INPUTS, left=1):
        found.forward(**INPUTS, labels=torch.zeros(2))


def test_a_gpus_few_lengths_are_compiled_one_by_one() -> None:
    cpu = torch.device("cpu")
    assert compiler_settings(cpu)["dynamic"] is True
    with forms_of_a_gpu():
        assert compiler_settings(cpu) == {"dynamic": False}


@pytest.mark.parametrize(
    ("seconds", "graph", "compiled"),
    [
        ({"eager": 3.0, "graph": 2.0, "compiled": 1.0}, "on", "on"),
        ({"eager": 3.0, "graph": 1.0, "compiled": 2.0}, "on", "off: no faster than graph"),
        ({"eager": 2.0, "graph": 3.0, "compiled": 1.0}, "off: no faster than eager", "on"),
        (
            {"eager": 1.0, "graph": 2.0, "compiled": 3.0},
            "off: no faster than eager",
            "off: no faster than eager",
        ),
    ],
)
@pytest.mark.parametrize("method", [None, "l0"])  # in whole steps, and with gates beside the pass
def test_of_eager_steps_graphs_and_compiled_ones_the_fastest_stay(
    monkeypatch, seconds: dict[str, float], graph: str, compiled: str, method: str | None
) -> None:
    """By a clock that stands-ins for a graph and for the compiler advance; the training is the eager one throughout."""
    now, kinds = [0.0], []

    def spend(kind: str) -> None:
        now[0] += seconds[kind]
        kinds.append(kind)

    def capture(work):
        replay, outputs = recorded(work)

        def timed() -> None:
            before = now[0]
            replay()
            now[0] = before
            spend("graph")

        return timed, outputs

    def compile_(model, **_: object):
        def forward(**inputs: torch.Tensor) -> object:
            before = now[0], len(kinds)
            output = model(**inputs)
            now[0], kinds[before[1] :] = before[0], []
            spend("compiled")
            return output

        return forward

    def graphs_by_the_clock(work, parameters, capture, device):
        return StepGraphs(work, parameters, capture, wait=lambda: None, clock=lambda: now[0])

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(loop_module, "make_graphs", graphs_by_the_clock)
    monkeypatch.setattr(compiling, "LEAST_S", 0.0)
    for module in (compiling, step_graphs):
        monkeypatch.setattr(module, "TIMED_STEPS", 3)
    rows, phase, found = tiny_rows(rows=12), Phase("tune", 0, 0, 36, 3), []
    for compiles in (False, True):
        model, anatomy = tiny_network(layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        its = None if method is None else METHODS[method](**fields_of(method))
        run = None if its is None else Run(phase.steps, len(rows), 0.5, torch.Generator().manual_seed(0))
        with forms_of_a_gpu():
            loop = Loop(
                model, anatomy, rows, phase, replace(RECIPE, batch_size=len(rows)), Silent(), its, run
            )
            if compiles:
                model.register_forward_pre_hook(lambda *_: spend("eager"))
                loop = replace(loop, capture=capture, compilation=Compilation(clock=lambda: now[0]))
            loop.fit()
        found.append(dict(model.named_parameters()))
    facts = loop.facts() | loop.compilation.facts()
    assert (facts["step_graph"], facts["compile"]) == (graph, compiled)
    fastest = min(seconds, key=seconds.__getitem__)
    assert kinds[-5:] == [fastest] * 5
    other = "graph" if graph == "on" else "eager"
    per_token = float(facts[f"token_seconds/{other}"]) / float(facts["token_seconds/compiled"])
    assert per_token == pytest.approx(seconds[other] / seconds["compiled"], rel=0.01)
    for name, value in found[0].items():
        if not name.endswith("key.bias"):  # as above
            torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=1e-3)
