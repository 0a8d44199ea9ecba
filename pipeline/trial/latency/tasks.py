"""What a search has timed, in a process that has its machine to itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from pipeline.model.source import ModelSource, build
from pipeline.study.provenance import provenance
from pipeline.study.records import Masks
from pipeline.study.store import LatencySetup, LatencyTable, Shape, TimedPoint
from pipeline.trial.latency.clocks import Clock, CpuClock, CudaClock
from pipeline.trial.latency.timing import measure_table, measure_whole
from pipeline.trial.training.process import keep_memory


@dataclass(frozen=True)
class TableWanted:
    """A table that is asked for, and the one that is known, which is given back if it holds here, too."""

    shape: Shape
    known: LatencyTable | None = None


@dataclass(frozen=True, eq=False)
class FrontWanted:
    """The networks of a front to time, with what is known of each, which stays if it holds here, too."""

    shapes: tuple[Shape, ...]
    networks: tuple[tuple[TimedPoint, Masks], ...]


def table_of(source: ModelSource, wanted: TableWanted) -> LatencyTable:
    """The table of a model on this process's device, with as many threads as PyTorch has here."""
    bench = bench_here(wanted.shape)
    if wanted.known is not None and wanted.known.bench == bench:
        return wanted.known
    keep_memory()
    device, clock = _device()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    return measure_table((model, anatomy), bench, clock)


def time_front(source: ModelSource, wanted: FrontWanted) -> tuple[TimedPoint, ...]:
    """Every network at every shape, on this process's device, one after the other.

    What was measured before while the machine did much else is measured again.
    """
    keep_memory()
    device, clock = _device()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    found = []
    for point, masks in wanted.networks:
        known = {each.bench: each for each in point.times if not each.disturbed}
        times = []
        for bench in map(bench_here, wanted.shapes):
            if bench not in known:
                known[bench] = measure_whole((model, anatomy), masks, bench, clock)
            times.append(known[bench])
        found.append(replace(point, times=tuple(times)))
    return tuple(found)


def bench_here(shape: Shape) -> LatencySetup:
    """What a latency holds for that this process measures."""
    if torch.cuda.is_available():
        return LatencySetup(torch.cuda.get_device_name(), 1, shape.batch, shape.length)
    return LatencySetup(provenance()["cpu"], torch.get_num_threads(), shape.batch, shape.length)


def _device() -> tuple[torch.device, Clock]:
    if torch.cuda.is_available():
        return torch.device("cuda"), CudaClock()
    return torch.device("cpu"), CpuClock()
