"""How long a network takes: a table of its blocks, measured once, and whole networks.

A table is measured inside whole networks, where caches are as full as they will be: a few networks whose layers
keep different numbers of heads and neurons are run in turns, and the time from block to block is taken. So a
block's time holds its LayerNorm, its residual and what Python costs. Smaller networks, which fit into the caches,
are run as a whole beside them. Warm-up first, then medians over rounds.

Timed is one forward pass in inference mode, in fp32, of rows without padding that are on the device already: no
tokenisation, no transfer. Weights do not matter, only shapes.

Shapes: L layers, H heads, N neurons, B rows, T tokens.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.anatomy import Anatomy, encoder_layers, find_architecture
from pipeline.models import ModelSource, build
from pipeline.provenance import provenance
from pipeline.records import Masks
from pipeline.store import Bench, LatencyTable, Shape, Timed, TimedPoint
from pipeline.surgery import cut

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_STEPS = 16  # of a table, at most; between them, straight lines
NEURON_SHARES = (0.0, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
WHOLE_SHARES = (
    1 / 32,
    1 / 12,
    1 / 6,
    1 / 4,
    1 / 2,
    3 / 4,
)  # of heads and neurons of the networks run as a whole
ROUNDS, LEAST_ROUNDS = 40, 5
TABLE_SECONDS, WHOLE_SECONDS = 10.0, 2.0  # no new round begins after them
BLOCK_SECONDS, MOST_REPEATS = 0.05, 5  # how long one network is run before it is another one's turn
MILLISECONDS = 1000.0

Network = tuple["PreTrainedModel", Anatomy]


class Clock(Protocol):
    """Notes moments of a device without holding it up."""

    def mark(self) -> None:
        """Notes this moment."""

    def read(self) -> list[float]:
        """Milliseconds of every mark since the last reading, from the first one on. Waits for the device."""


class CpuClock:
    """The wall clock: on a CPU work is done when the call returns."""

    def __init__(self) -> None:
        self._marks: list[float] = []

    def mark(self) -> None:
        """Notes this moment."""
        self._marks.append(time.perf_counter())

    def read(self) -> list[float]:
        """Milliseconds from the first mark on."""
        marks, self._marks = self._marks, []
        return [MILLISECONDS * (mark - marks[0]) for mark in marks]


class CudaClock:
    """Events in the GPU's own queue: they tell when it got there, not when it was told to."""

    def __init__(self) -> None:
        self._marks: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Notes the moment when the GPU gets here."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)

    def read(self) -> list[float]:
        """Milliseconds from the first mark on."""
        marks, self._marks = self._marks, []
        torch.cuda.synchronize()
        return [marks[0].elapsed_time(mark) for mark in marks]


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
    device, clock = _device()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    return measure_table((model, anatomy), bench, clock)


def time_front(source: ModelSource, wanted: FrontWanted) -> tuple[TimedPoint, ...]:
    """Every network at every shape, on this process's device, one after the other."""
    device, clock = _device()
    model, anatomy = build(source, seed=0)
    model.to(device)  # type: ignore[arg-type]
    found = []
    for point, masks in wanted.networks:
        known = {each.bench: each for each in point.times}
        times = []
        for bench in map(bench_here, wanted.shapes):
            if bench not in known:
                known[bench] = measure_whole((model, anatomy), masks, bench, clock)
            times.append(known[bench])
        found.append(replace(point, times=tuple(times)))
    return tuple(found)


def bench_here(shape: Shape) -> Bench:
    """What a latency holds for that this process measures."""
    if torch.cuda.is_available():
        return Bench(torch.cuda.get_device_name(), 1, shape.batch, shape.length)
    return Bench(provenance()["cpu"], torch.get_num_threads(), shape.batch, shape.length)


def measure_table(
    dense: Network, bench: Bench, clock: Clock, *, seconds: float = TABLE_SECONDS
) -> LatencyTable:
    """Measures a table.

    Args:
        dense: a network that nothing was cut from, and its anatomy; it stays as it is.
        bench: what it holds for: the device that the network is on.
        clock: of that device.
        seconds: no new round begins after them.
    """
    started = time.monotonic()
    model, anatomy = dense
    mixed = [dense, *(_cut_copy(dense, masks) for masks in mixed_layouts(anatomy))]
    layouts = whole_layouts(anatomy)
    inputs = _inputs(model, bench.shape)
    whole = [_runner(_cut_copy(dense, masks)[0], inputs) for masks in layouts]
    samples = _Samples([[] for _ in layouts])
    with torch.inference_mode():
        for run in (*(_runner(network, inputs) for network, _ in mixed), *whole):
            run()  # allocations, and kernels that are chosen at their first use
        for _ in _rounds(seconds):
            for network, its in mixed:
                samples.add(its, *_one_look(network, its, inputs, clock))
            for times, run in zip(samples.whole, whole, strict=True):
                run()
                times += _turn(run, clock, repeats=1)
    return samples.table(layouts, bench, seconds=time.monotonic() - started)


def measure_whole(
    dense: Network, masks: Masks, bench: Bench, clock: Clock, *, seconds: float = WHOLE_SECONDS
) -> Timed:
    """Times the network that `masks` leaves of `dense`.

    Both networks run in turns, so that what a machine does meanwhile meets both; each runs several times in its
    turn, after once without looking, so that its caches are its own.
    """
    inputs = _inputs(dense[0], bench.shape)
    runs = [_runner(network, inputs) for network in (dense[0], _cut_copy(dense, masks)[0])]
    times: list[list[float]] = [[], []]
    with torch.inference_mode():
        for run in runs:
            run()
        for _ in _rounds(seconds):
            for place, run in enumerate(runs):
                times[place] += _turn(run, clock)
    low, middle, high = np.quantile(times[1], [0.25, 0.5, 0.75])
    return Timed(bench, float(middle), float(high - low), float(np.median(times[0])))


def whole_layouts(anatomy: Anatomy) -> list[Masks]:
    """Networks from one without layers over one without blocks to the dense one, whose layers keep different parts.

    A network of share p keeps p of its heads and neurons; its layers keep from 0 to 2 p of them, or 2 p - 1 to 1.
    """
    generator = np.random.default_rng(1)
    layers, heads, neurons = anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer
    full = Masks.full(layers, heads, neurons)
    nothing = Masks(full.heads & False, full.neurons & False, full.layers)
    found = [replace(nothing, layers=full.layers & False), nothing]
    for share in WHOLE_SHARES:
        shares = np.linspace(max(0.0, 2 * share - 1), min(1.0, 2 * share), layers)
        kept = [round(part * heads) for part in generator.permutation(shares)]
        odd = [_odd(part * neurons, neurons) if part else 0 for part in generator.permutation(shares)]
        found.append(_first(anatomy, kept, odd))
    return [*found, full]


def _odd(count: float, most: int) -> int:
    # as most numbers are that a cut leaves: on round ones matrix products are quicker than on their neighbours
    return min(round(count) | 1, most)


def mixed_layouts(anatomy: Anatomy) -> list[Masks]:
    """Networks whose layers together keep every number of heads and of neurons that a table has, in mixed order."""
    generator = np.random.default_rng(0)
    layers = anatomy.dense_layers
    heads, neurons = (
        generator.permutation(grid[:-1]) for grid in grids(anatomy)
    )  # the dense network has all
    count = -(-max(len(heads), len(neurons)) // layers)
    rows = [np.resize(values, (count, layers)) for values in (heads, neurons)]
    return [_first(anatomy, *kept) for kept in zip(*rows, strict=True)]


def _first(anatomy: Anatomy, heads: Sequence[int], neurons: Sequence[int]) -> Masks:
    """The first so many heads and neurons of each layer, all layers there."""
    return Masks(
        np.arange(anatomy.heads_per_layer) < np.asarray(heads)[:, None],
        np.arange(anatomy.neurons_per_layer) < np.asarray(neurons)[:, None],
        np.ones(anatomy.dense_layers, bool),
    )


def grids(anatomy: Anatomy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of heads and of neurons that a table has: 0, 1, all, and steps between."""
    most, neurons = anatomy.heads_per_layer, anatomy.neurons_per_layer
    steps = np.linspace(0, most, min(most, HEAD_STEPS) + 1)
    head_grid = {1, *(round(step) for step in steps)}
    neuron_grid = {0, *(_odd(share * neurons, neurons) for share in NEURON_SHARES)}
    return tuple(sorted(head_grid)), tuple(sorted(neuron_grid))


class _Samples:
    """What was seen of parts and of whole networks, in milliseconds."""

    def __init__(self, whole: list[list[float]]) -> None:
        self.whole = whole
        self.attention: defaultdict[int, list[float]] = defaultdict(list)
        self.ffn: defaultdict[int, list[float]] = defaultdict(list)
        self.fixed: list[float] = []

    def add(self, anatomy: Anatomy, whole_ms: float, parts: Sequence[tuple[float, float]]) -> None:
        """One pass of a network: its time, and (attention, ffn) of each of its layers."""
        for layer, (attention, ffn) in zip(anatomy.layers, parts, strict=True):
            self.attention[len(layer.heads)].append(attention)
            self.ffn[len(layer.neurons)].append(ffn)
        self.fixed.append(whole_ms - sum(map(sum, parts)))

    def table(self, layouts: list[Masks], bench: Bench, *, seconds: float) -> LatencyTable:
        """Medians; `layouts` are the networks that were run as a whole, the last one dense."""
        heads, neurons = sorted(self.attention), sorted(self.ffn)
        low, high = np.quantile(self.whole[-1], [0.25, 0.75])
        parts = LatencyTable(
            bench=bench,
            fixed_ms=float(np.median(self.fixed)),
            heads=tuple(heads),
            attention_ms=tuple(float(np.median(self.attention[count])) for count in heads),
            neurons=tuple(neurons),
            ffn_ms=tuple(float(np.median(self.ffn[count])) for count in neurons),
            sums_ms=(),
            whole_ms=(),
            spread_ms=float(high - low),
            seconds=seconds,
        )
        # more parts take no less time: where noise says so, it is noise
        whole = np.maximum.accumulate([np.median(times) for times in self.whole])
        sums = np.maximum.accumulate([parts.sum_of_parts(masks) for masks in layouts])
        return replace(parts, sums_ms=tuple(sums.tolist()), whole_ms=tuple(whole.tolist()))


def _one_look(
    model: PreTrainedModel, anatomy: Anatomy, inputs: dict[str, Tensor], clock: Clock
) -> tuple[float, list[tuple[float, float]]]:
    """(whole time, [(attention, ffn) of each layer]); the parts are scaled to the time without looking at them."""
    run = _runner(model, inputs)
    run()
    (whole,) = _turn(run, clock, repeats=1)
    labels: list[str] = []
    with _marked(model, anatomy, clock, labels):
        clock.mark()
        run()
        clock.mark()
    marks = clock.read()
    scale = whole / marks[-1] if marks[-1] else 1.0
    parts: list[tuple[float, float]] = []
    start = middle = 0.0
    for label, at in zip(labels, marks[1:-1], strict=True):
        if label == "start":
            start, middle = at, np.nan
        elif label == "ffn":
            middle = at
        else:
            middle = at if np.isnan(middle) else middle  # no ffn ran in this layer
            parts.append((scale * (middle - start), scale * (at - middle)))
    return whole, parts


@contextmanager
def _marked(model: PreTrainedModel, anatomy: Anatomy, clock: Clock, labels: list[str]) -> Iterator[None]:
    """Within it every layer marks its start, the start of its ffn block and its end."""

    def marks(label: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            clock.mark()
            labels.append(label)

        return hook

    where = find_architecture(anatomy.architecture)
    with ExitStack() as hooks:
        for layer in encoder_layers(model, anatomy.architecture):
            hooks.callback(layer.register_forward_pre_hook(marks("start")).remove)
            hooks.callback(layer.get_submodule(where.ffn).register_forward_pre_hook(marks("ffn")).remove)
            hooks.callback(layer.register_forward_hook(marks("end")).remove)
        yield


def _turn(run: Callable[[], Any], clock: Clock, *, repeats: int | None = None) -> list[float]:
    """Times of a network that is run several times, in ms; of one that takes long, once."""
    if repeats is None:
        started = time.perf_counter()
        run()
        took = time.perf_counter() - started
        repeats = int(np.clip(BLOCK_SECONDS / max(took, 1e-9), 1, MOST_REPEATS))
    found = []
    for _ in range(repeats):
        clock.mark()
        run()
        clock.mark()
        found.append(clock.read()[1])
    return found


def _rounds(seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and time.monotonic() > end:
            return
        yield number


def _runner(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Callable[[], Any]:
    return lambda: model(**inputs)


def _inputs(model: PreTrainedModel, shape: Shape) -> dict[str, Tensor]:
    """Rows of words without padding, [B, T]."""
    generator = torch.Generator().manual_seed(0)
    size = (shape.batch, shape.length)
    words = model.config.vocab_size
    tokens = torch.randint(words // 2, words, size, generator=generator).to(model.device)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _cut_copy(dense: Network, masks: Masks) -> Network:
    """A copy that is cut; parameters that stay whole are shared with the dense network."""
    shared: dict[int, Any] = {id(parameter): parameter for parameter in dense[0].parameters()}
    model, anatomy = copy.deepcopy(dense, shared)
    return model, cut(model, anatomy, masks)


def _device() -> tuple[torch.device, Clock]:
    if torch.cuda.is_available():
        return torch.device("cuda"), CudaClock()
    return torch.device("cpu"), CpuClock()
