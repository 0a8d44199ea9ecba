"""The timings of a search, in a process that has its machine to itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from pipeline.model.device import AUTO, CUDA, device_of
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
    device: str = AUTO  # as `device_of` reads it


@dataclass(frozen=True, eq=False)
class FrontRequest:
    """The networks of a front to time, each with its known times; those of this process's setup are kept."""

    shapes: tuple[Shape, ...]
    networks: tuple[tuple[TimedPoint, Masks], ...]
    device: str = AUTO  # as `device_of` reads it


def table_of(source: ModelSource, request: TableRequest) -> LatencyTable:
    """Measure the table of a model on this process's device, with PyTorch's present number of threads."""
    device, clock = _device(request.device)
    setup = setup_on(device, request.shape)
    if request.known is not None and request.known.bench == setup:
        return request.known
    keep_memory()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    return measure_table((model, anatomy), setup, clock)


def time_front(source: ModelSource, request: FrontRequest) -> tuple[TimedPoint, ...]:
    """Time every network at every shape on this process's device, one after the other.

    Known times that were measured while the machine did much other work are measured again.
    """
    keep_memory()
    device, clock = _device(request.device)
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    found = []
    for point, masks in request.networks:
        known = {each.bench: each for each in point.times if not each.disturbed}
        times = []
        for setup in (setup_on(device, shape) for shape in request.shapes):
            if setup not in known:
                known[setup] = measure_whole((model, anatomy), masks, setup, clock)
            times.append(known[setup])
        found.append(replace(point, times=tuple(times)))
    return tuple(found)


def setup_on(device: torch.device, shape: Shape) -> LatencySetup:
    """Return the setup that latencies measured by this process on a device are valid for."""
    if device.type == CUDA:
        return LatencySetup(torch.cuda.get_device_name(device), 1, shape.batch, shape.length)
    return LatencySetup(provenance()["cpu"], torch.get_num_threads(), shape.batch, shape.length)


def _device(said: str) -> tuple[torch.device, Clock]:
    device = device_of(said)
    return device, CudaClock() if device.type == CUDA else CpuClock()
