"""Steps as CUDA graphs: one graph is launched in place of a thousand kernels.

    eager steps of a shape ─ capture ─ eager and replayed steps in turns, timed ─ keep the faster kind

There is one graph per shape of batch; lengths are multiples of 16, so that there are few. A graph computes what was
captured: it serves where nothing but tensors changes from step to step. It holds the optimizer's step, too, where
nothing is called around that; else the forward and backward pass, and leaves gradients.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import final

import torch
from torch import Tensor

from pipeline.task.batches import Batch, copy_batch, packed

EAGER_STEPS = 3  # of a shape before it is captured: libraries choose kernels and allocate
TIMED_STEPS = 10  # of each kind
MOST_GRAPHS = 8  # each may hold a set of gradients
REASON_CHARACTERS = 200

Outputs = tuple[Tensor, ...]
Work = Callable[[Batch], Outputs]  # gives gradients to the parameters, or makes a step of them
# Returns what runs the work again on the same tensors, and the outputs that it writes.
Capture = Callable[[Callable[[], Outputs]], tuple[Callable[[], None], Outputs]]


def cuda_capture() -> Capture:
    """Return what captures work as CUDA graphs that share their memory: no two of them run at once.

    Nothing is computed before the first replay. The graphs must outlive each other's captures: their memory is that
    of the first. What other threads do meanwhile, as the one that makes the next batch, is not their capture's error.
    """
    pool = None

    def capture(work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        nonlocal pool
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            outputs = work()
        pool = graph.pool()
        return graph.replay, outputs

    return capture


@final
class _Graph:
    """The graph of one shape, and the tensors that it reads and writes."""

    def __init__(self, batch: Batch, work: Work, parameters: Sequence[Tensor], capture: Capture) -> None:
        self._batch = packed({name: value.cpu() for name, value in batch.items()}, batch["rows"].device)
        for parameter in parameters:
            parameter.grad = None  # the graph's own gradients are made in it
        self._replay, self._outputs = capture(lambda: work(self._batch))
        self._parameters = [parameter for parameter in parameters if parameter.grad is not None]
        self._gradients = [parameter.grad for parameter in self._parameters]

    def run(self, batch: Batch) -> Outputs:
        copy_batch(batch, self._batch)
        self._replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._outputs


@final
class StepGraphs:
    """The steps of one phase, eager or replayed, and the measured times of both."""

    def __init__(
        self,
        work: Work,
        parameters: Sequence[Tensor],
        capture: Capture,
        *,
        wait: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the eager step.

        Args:
            work: computes all from tensors: of a batch, and those that the optimizer changes in place.
            parameters: whose gradients are None before it; it may leave some.
            capture: how its work becomes a graph.
            wait: until the device is done; called while both kinds are timed.
            clock: of seconds.
        """
        self._work, self._parameters, self._capture = work, parameters, capture
        self._wait, self._clock = wait, clock
        self._graphs: dict[object, _Graph] = {}
        self._seen: Counter[object] = Counter()
        self._verdict = ""  # until it is reached
        self._on = True  # whether graphs are used, once that is decided
        self._row_s: dict[bool, list[float]] = {False: [], True: []}  # by whether the pass was replayed

    @property
    def settled(self) -> bool:
        """Whether it is decided which kind of steps is used."""
        return bool(self._verdict)

    @property
    def on(self) -> bool:
        """Whether steps of shapes that were captured are replayed, as far as is decided."""
        return self._on

    def run(self, batch: Batch) -> Outputs:
        """Do the work on a batch; return what it returns when it is eager."""
        shape = tuple((name, value.shape, value.dtype) for name, value in batch.items())
        self._seen[shape] += 1
        graph = self._graph(shape, batch) if self._on else None
        if self._verdict:
            return self._work(batch) if graph is None else graph.run(batch)
        replayed = graph is not None and self._seen[shape] % 2 == 0
        self._wait()
        before = self._clock()
        found = graph.run(batch) if graph is not None and replayed else self._work(batch)
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
            self._graphs[shape] = _Graph(batch, self._work, self._parameters, self._capture)
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


def capture_on(device: torch.device, given: Capture | None) -> Capture | None:
    """Return how work becomes a graph on a device; None on a CPU, unless that is given."""
    return cuda_capture() if given is None and device.type == "cuda" else given


def make_graphs(
    work: Work, parameters: Sequence[Tensor], capture: Capture, device: torch.device
) -> StepGraphs:
    """Return the graphs of a step's work, as `StepGraphs` takes it."""
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    return StepGraphs(work, parameters, capture, wait=wait)
