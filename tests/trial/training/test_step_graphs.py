"""Steps as graphs: all but the capture itself; in its place operators are recorded, and called again."""

import copy
import itertools
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from pipeline.methods.base import Run
from pipeline.model.device import forms_of_a_gpu
from pipeline.trial.conformance.networks import tiny_network, tiny_rows
from pipeline.trial.conformance.recorded import Outputs, recorded
from pipeline.trial.training.loop import Listener, Loop
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.recipe import Recipe
from pipeline.trial.training.step_graphs import (
    EAGER_STEPS,
    MOST_GRAPHS,
    TIMED_STEPS,
    StepGraphs,
    capture_on,
    cuda_capture,
)
from tests.benchmarks import subject
from tests.kit.kinds import CLASSES

STEPS = 40
CLIPS = Recipe(1e-2, 4, 0.1, 0.01, "fp32", kind=CLASSES)


def trained(*, graphs: bool, method: str | None, recipe: Recipe = CLIPS, **fields: str):
    model, anatomy = copy.deepcopy(tiny_network(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    its = None if method is None else subject.fresh(method, subject.defaults(method, **fields))
    run = None if its is None else Run(STEPS, 12, 0.5, torch.Generator().manual_seed(0), 0.1)
    phase = Phase("tune", 0, 0, STEPS, 3)
    with forms_of_a_gpu():
        loop = Loop(model, anatomy, tiny_rows(rows=14), phase, recipe, Listener(), its, run)
        loop.capture = recorded if graphs else None
        loop.fit()
    return model, loop, its


@pytest.mark.parametrize(
    ("method", "fields", "whole"),
    [
        (None, {}, True),
        ("snip", {"level": "head", "spectral_bound": "relative"}, False),
        ("snip", {"level": "block", "reference": "pretrained", "spectral_bound": "off"}, True),
        ("first-order", {}, True),
        ("magnitude", {}, False),
        ("l0", {"level": "neuron"}, False),
        ("movement", {}, False),
    ],
)
def test_a_replayed_training_is_the_eager_one(method: str | None, fields: dict[str, str], whole: bool):
    """`whole`: the graph holds the optimizer's step, too, since nothing is called around it.

    Each method's own steps are checked by a law, `replayed_steps_train_as_eager_ones`.
    """
    (eager, plain, its), (replayed, loop, theirs) = (
        trained(graphs=graphs, method=method, **fields) for graphs in (False, True)
    )
    assert plain.facts() == {}
    assert set(loop.facts()) >= {"step_graph", "row_seconds/eager", "row_seconds/graph"}
    for (name, one), other in zip(replayed.named_parameters(), eager.parameters(), strict=True):
        if not name.endswith("key.bias"):  # scores do not depend on it: its gradient is rounding alone
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    if its is not None:
        for name, value in its.state().items():
            torch.testing.assert_close(theirs.state()[name], value, rtol=1e-3, atol=1e-3)
    if method == "snip":
        torch.testing.assert_close(theirs._last_norms, its._last_norms, rtol=1e-4, atol=1e-4)
    assert loop.recent_loss == pytest.approx(plain.recent_loss, rel=1e-4)
    rates = [group["lr"] for group in loop._optimizer.param_groups]
    assert [isinstance(rate, torch.Tensor) for rate in rates] == [whole] * len(rates)


@pytest.mark.parametrize("recipe", [replace(CLIPS, parts=2), replace(CLIPS, checkpointing=True)])
def test_steps_in_parts_and_layers_that_run_again_are_eager(recipe: Recipe):
    loop = trained(graphs=True, method=None, recipe=recipe)[1]
    assert loop.facts() == {}
    assert loop.done == STEPS


def graphs_of(times: dict[bool, float], capture=None):
    """One parameter, a loss x · p, and a clock by which each kind of pass takes its time."""
    parameter = torch.nn.Parameter(torch.tensor(2.0))
    now, replays = [0.0], [0]

    def backward(batch) -> Outputs:
        loss = (batch["rows"].float() * parameter).sum()
        loss.backward()
        now[0] += times[False]
        return (loss.detach(),)

    def captured(work):
        replay, outputs = recorded(work)

        def counted() -> None:
            before = now[0]
            replay()
            replays[0] += 1
            now[0] = before + times[True]

        return counted, outputs

    graphs = StepGraphs(backward, [parameter], capture or captured, wait=lambda: None, clock=lambda: now[0])
    return graphs, parameter, replays


def step(graphs: StepGraphs, parameter: torch.nn.Parameter, *rows: int) -> float:
    (loss,) = graphs.run({"rows": torch.tensor(rows)})
    assert parameter.grad.item() == sum(rows)
    parameter.grad = None
    return loss.item()


@pytest.mark.parametrize(
    ("times", "verdict"), [((1.0, 0.1), "on"), ((0.1, 1.0), "off: no faster than eager")]
)
def test_the_faster_kind_is_kept(times: tuple[float, float], verdict: str):
    graphs, parameter, replays = graphs_of(dict(zip((False, True), times, strict=True)))
    for number in range(EAGER_STEPS + 2 * TIMED_STEPS + 1):
        assert step(graphs, parameter, number, 1) == 2 * (number + 1)
    assert graphs.facts()["step_graph"] == verdict
    before = replays[0]
    assert step(graphs, parameter, 5, 6) == 22
    assert replays[0] == before + (verdict == "on")


def test_a_shape_is_captured_once_it_was_seen_often_and_graphs_are_few():
    graphs, parameter, _ = graphs_of({False: 1.0, True: 0.5})
    for length in range(1, MOST_GRAPHS + 4):
        for _ in range(EAGER_STEPS):
            step(graphs, parameter, *range(length))
        assert len(graphs._graphs) == min(length - 1, MOST_GRAPHS)
        step(graphs, parameter, *range(length))
    assert len(graphs._graphs) == MOST_GRAPHS


def test_where_capturing_fails_steps_are_eager():
    def fails(work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs, parameter, _ = graphs_of({False: 1.0, True: 0.5}, fails)
    for number in itertools.islice(itertools.count(), EAGER_STEPS + 3):
        assert step(graphs, parameter, number, 1) == 2 * (number + 1)
    assert graphs.facts()["step_graph"].startswith("failed: RuntimeError: operation not permitted")


def test_memory_that_is_not_there_is_the_trials_matter():
    def fails(work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    graphs, parameter, _ = graphs_of({False: 1.0, True: 0.5}, fails)
    for number in range(EAGER_STEPS):
        step(graphs, parameter, number, 1)
    with pytest.raises(torch.OutOfMemoryError):
        step(graphs, parameter, 1, 1)


def test_what_a_graph_would_freeze_shows_in_the_stand_in():
    weight, rate = torch.nn.Parameter(torch.tensor(1.0)), torch.tensor(1.0)
    with torch.no_grad():
        replay, (seen,) = recorded(lambda: (weight.sub_(rate) * 2,))
        assert weight == 1.0
        rate.fill_(0.25)
        replay()
        assert (weight, seen) == (0.75, 1.5)
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing: _local_scalar_dense"):
            recorded(lambda: (weight * float(rate),))


def test_cuda_s_graphs_share_their_memory_and_leave_other_threads_alone(monkeypatch):
    begun, replayed = [], []

    class Graph:
        def pool(self) -> str:
            return "memory"

        def replay(self) -> None:
            replayed.append(self)

    @contextmanager
    def graph(one: Graph, **how: object):
        begun.append(how)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    capture = cuda_capture()
    outputs = (torch.ones(1),)
    replays = [capture(lambda: outputs) for _ in range(2)]
    assert begun == [{"pool": pool, "capture_error_mode": "thread_local"} for pool in (None, "memory")]
    replays[1][0]()
    assert len(replayed) == 1
    assert replays[0][1] is outputs
    assert capture_on(torch.device("cpu"), None) is None
    assert capture_on(torch.device("cuda"), None) is not None
