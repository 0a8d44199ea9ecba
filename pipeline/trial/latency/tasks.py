"""The timings of a search, in a process that has its machine to itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from pipeline.model.device import default_device
from pipeline.model.source import ModelSource, build
from pipeline.study.provenance import provenance
from pipeline.study.records import Masks
from pipeline.study.store import LatencySetup, LatencyTable, Shape, TimedPoint
from pipeline.trial.latency.clocks import Clock, CpuClock, CudaClock
from pipeline.trial.latency.timing import measure_table, measure_whole
from pipeline.trial.training.process import keep_memory


@dataclass(frozen=True)
class TableRequest:
    """The shape of a table to measure, and a known table, which is returned if its setup is that of this process."""

    shape: Shape
    known: LatencyTable | None = None


@dataclass(frozen=True, eq=False)
class FrontRequest:
    """The networks of a front to time, each with its known times; those of this process's setup are kept."""

    shapes: tuple[Shape, ...]
    networks: tuple[tuple[TimedPoint, Masks], ...]


def table_of(source: ModelSource, request: TableRequest) -> LatencyTable:
    """Measure the table of a model on this process's device, with PyTorch's present number of threads."""
    setup = setup_here(request.shape)
    if request.known is not None and request.known.bench == setup:
        return request.known
    keep_memory()
    device, clock = _device()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    return measure_table((model, anatomy), setup, clock)


def time_front(source: ModelSource, request: FrontRequest) -> tuple[TimedPoint, ...]:
    """Time every network at every shape on this process's device, one after the other.

    Known times that were measured while the machine did much other work are measured again.
    """
    keep_memory()
    device, clock = _device()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    found = []
    for point, masks in request.networks:
        known = {each.bench: each for each in point.times if not each.disturbed}
        times = []
        for setup in map(setup_here, request.shapes):
            if setup not in known:
                known[setup] = measure_whole((model, anatomy), masks, setup, clock)
            times.append(known[setup])
        found.append(replace(point, times=tuple(times)))
    return tuple(found)


def setup_here(shape: Shape) -> LatencySetup:
    """Return the setup that latencies measured by this process are valid for."""
    if torch.cuda.is_available():
        return LatencySetup(torch.cuda.get_device_name(), 1, shape.batch, shape.length)
    return LatencySetup(provenance()["cpu"], torch.get_num_threads(), shape.batch, shape.length)


def _device() -> tuple[torch.device, Clock]:
    device = default_device()
    return device, CudaClock() if device.type == "cuda" else CpuClock()
