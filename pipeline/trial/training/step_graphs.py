"""Forward and backward passes as CUDA graphs: a step launches one graph in place of a thousand kernels.

    eager steps of a shape ─ capture ─ eager and replayed steps in turns, timed ─ keep the faster kind

There is one graph per shape of batch; lengths are multiples of 16, so that there are few. A graph computes what was
captured: it serves where nothing but tensors changes from step to step. The optimizer and its hooks stay eager: they
are some ten launches, and read learning rates and schedules.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import final

import torch
from torch import Tensor, nn

from pipeline.task.batches import Batch

EAGER_STEPS = 3  # of a shape before it is captured: libraries choose kernels and allocate
TIMED_STEPS = 10  # of each kind
MOST_GRAPHS = 8  # each holds a set of gradients
REASON_CHARACTERS = 200

Outputs = tuple[Tensor, ...]
Backward = Callable[[Batch], Outputs]  # adds gradients to the parameters
# Returns what runs the work again on the same tensors, and the outputs that it writes.
Capture = Callable[[Callable[[], Outputs]], tuple[Callable[[], None], Outputs]]


def cuda_capture(work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """Capture work as a CUDA graph; nothing is computed before the first replay."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return graph.replay, outputs


@final
class _Graph:
    """The graph of one shape, and the tensors that it reads and writes."""

    def __init__(
        self, batch: Batch, backward: Backward, parameters: Sequence[nn.Parameter], capture: Capture
    ) -> None:
        self._batch = {name: value.clone() for name, value in batch.items()}
        for parameter in parameters:
            parameter.grad = None  # the graph's own gradients are made in it
        self._replay, self._outputs = capture(lambda: backward(self._batch))
        self._parameters = [parameter for parameter in parameters if parameter.grad is not None]
        self._gradients = [parameter.grad for parameter in self._parameters]

    def run(self, batch: Batch) -> Outputs:
        for name, value in batch.items():
            self._batch[name].copy_(value, non_blocking=True)
        self._replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._outputs


@final
class StepGraphs:
    """The backward passes of one phase, eager or replayed, and the measured times of both."""

    def __init__(
        self,
        backward: Backward,
        parameters: Sequence[nn.Parameter],
        capture: Capture,
        *,
        wait: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the eager pass.

        Args:
            backward: computes all from tensors: of a batch, and those that the optimizer changes in place.
            parameters: that it gives gradients to.
            capture: how its work becomes a graph.
            wait: until the device is done; called while both kinds are timed.
            clock: of seconds.
        """
        self._backward, self._parameters, self._capture = backward, parameters, capture
        self._wait, self._clock = wait, clock
        self._graphs: dict[object, _Graph] = {}
        self._seen: Counter[object] = Counter()
        self._verdict = ""  # until it is reached
        self._on = True  # whether graphs are used, once that is decided
        self._row_s: dict[bool, list[float]] = {False: [], True: []}  # by whether the pass was replayed

    def backward(self, batch: Batch) -> Outputs:
        """Add the gradients of a batch to parameters whose gradients are None; return what the eager pass returns."""
        shape = tuple((name, value.shape, value.dtype) for name, value in batch.items())
        self._seen[shape] += 1
        graph = self._graph(shape, batch) if self._on else None
        if self._verdict:
            return self._backward(batch) if graph is None else graph.run(batch)
        replayed = graph is not None and self._seen[shape] % 2 == 0
        self._wait()
        before = self._clock()
        found = graph.run(batch) if graph is not None and replayed else self._backward(batch)
        self._wait()
        if self._seen[shape] > EAGER_STEPS:
            self._note(replayed, (self._clock() - before) / batch["rows"].numel())
        return found

    def _graph(self, shape: object, batch: Batch) -> _Graph | None:
        """Return the graph of a shape; capture it once the shape was seen often enough."""
        if shape in self._graphs:
            return self._graphs[shape]
        if self._seen[shape] <= EAGER_STEPS or len(self._graphs) >= MOST_GRAPHS:
            return None
        try:
            self._graphs[shape] = _Graph(batch, self._backward, self._parameters, self._capture)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # an error of the network itself is raised again by the eager pass
            reason = (str(error).strip() or "?").splitlines()[0][:REASON_CHARACTERS]
            self._settle(f"failed: {type(error).__name__}: {reason}", on=False)
            for parameter in self._parameters:
                parameter.grad = None
        return self._graphs.get(shape)

    def _note(self, replayed: bool, seconds: float) -> None:
        self._row_s[replayed].append(seconds)
        if min(map(len, self._row_s.values())) >= TIMED_STEPS:
            eager, graph = (median(self._row_s[kind]) for kind in (False, True))
            faster = graph < eager
            self._settle("on" if faster else "off: no faster than eager", on=faster)

    def _settle(self, verdict: str, *, on: bool) -> None:
        self._verdict, self._on = verdict, on
        if not on:
            self._graphs.clear()

    def facts(self) -> dict[str, str]:
        """Return for a record the verdict, and the seconds of a row of both kinds."""
        found = {"step_graph": self._verdict or "undecided: the phase was over"}
        for kind, name in ((False, "eager"), (True, "graph")):
            if self._row_s[kind]:
                found[f"row_seconds/{name}"] = f"{median(self._row_s[kind]):.3g}"
        return found


def make_graphs(
    backward: Backward, parameters: Sequence[nn.Parameter], capture: Capture | None, device: torch.device
) -> StepGraphs | None:
    """Return the graphs of a pass, as `StepGraphs` takes it; None on a CPU, unless how it is captured is given."""
    cuda = device.type == "cuda"
    capture = cuda_capture if capture is None and cuda else capture
    if capture is None:
        return None
    wait = partial(torch.cuda.synchronize, device) if cuda else lambda: None
    return StepGraphs(backward, parameters, capture, wait=wait)
