"""The timings of a search, in a process that has its machine to itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.model.device import AUTO, CUDA, device_of
from pipeline.model.source import ModelSource, build
from pipeline.study.provenance import provenance
from pipeline.study.records import Masks
from pipeline.study.store import LatencySetup, LatencyTable, Shape, TimedPoint
from pipeline.trial.latency.clocks import Clock, CpuClock, CudaClock
from pipeline.trial.latency.serving import AS_THEY_ARE, Serving, dtype_of, serving_on
from pipeline.trial.latency.timing import Network, measure_table, measure_whole, random_rows
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
    if (
        device.type != CUDA
        and request.known is not None
        and request.known.bench == setup_on(device, request.shape)
    ):
        return request.known  # no network is needed to see that
    keep_memory()
    network, serving = _served(source, device, request.shape)
    setup = setup_on(device, request.shape, serving)
    if request.known is not None and request.known.bench == setup:
        return request.known
    return measure_table(network, setup, clock, serving=serving)


def time_front(source: ModelSource, request: FrontRequest) -> tuple[TimedPoint, ...]:
    """Time every network at every shape on this process's device, one after the other.

    Known times that were measured while the machine did much other work are measured again.
    """
    keep_memory()
    device, clock = _device(request.device)
    network, serving = _served(source, device, request.shapes[0])
    found = []
    for point, masks in request.networks:
        known = {each.bench: each for each in point.times if not each.disturbed}
        times = []
        for setup in (setup_on(device, shape, serving) for shape in request.shapes):
            if setup not in known:
                known[setup] = measure_whole(network, masks, setup, clock, serving=serving)
            times.append(known[setup])
        found.append(replace(point, times=tuple(times)))
    return tuple(found)


def setup_on(device: torch.device, shape: Shape, serving: Serving = AS_THEY_ARE) -> LatencySetup:
    """Return the setup that latencies measured by this process on a device are valid for."""
    gpu = device.type == CUDA
    name = torch.cuda.get_device_name(device) if gpu else provenance()["cpu"]
    threads = 1 if gpu else torch.get_num_threads()
    return LatencySetup(name, threads, shape.batch, shape.length, serving.name)


def _served(source: ModelSource, device: torch.device, shape: Shape) -> tuple[Network, Serving]:
    """Build a network on a device, in the form that it is served in there."""
    serving = serving_on(device)
    model, anatomy = build(source, seed=0)
    nn.Module.to(model, device, dtype_of(serving))
    return (model, anatomy), serving.checked(model, random_rows(model, shape))


def _device(said: str) -> tuple[torch.device, Clock]:
    device = device_of(said)
    return device, CudaClock() if device.type == CUDA else CpuClock()
