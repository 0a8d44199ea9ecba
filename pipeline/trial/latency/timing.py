"""Measure latencies: of whole networks, and of the blocks of a table.

Shapes: L layers, H heads, N neurons, B rows, T tokens.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pipeline.model.anatomy import Anatomy, encoder_layers, find_architecture
from pipeline.model.copies import copied
from pipeline.model.image_inputs import IMAGES, image_shape
from pipeline.model.surgery import cut
from pipeline.study.records import Masks
from pipeline.study.store import LatencySetup, LatencyTable, Shape, Timed
from pipeline.trial.latency.clocks import MILLISECONDS, Clock, CpuClock
from pipeline.trial.latency.layouts import mixed_layouts, whole_layouts
from pipeline.trial.latency.serving import AS_THEY_ARE, Serving
from pipeline.trial.training.process import CoreShare

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TABLE_ROUNDS, TABLE_SECONDS = 20, 15.0  # no new round begins after the seconds
WHOLE_ROUNDS, WHOLE_SECONDS = 10, 3.0
LEAST_ROUNDS = 3
TURN_S, MOST_REPEATS = 0.05, 5  # of one network, before it is the turn of another

Network = tuple["PreTrainedModel", Anatomy]


def measure_table(
    dense: Network,
    setup: LatencySetup,
    clock: Clock,
    *,
    seconds: float = TABLE_SECONDS,
    serving: Serving = AS_THEY_ARE,
) -> LatencyTable:
    """Measure a latency table.

    Args:
        dense: a network that nothing was cut from, and its anatomy; it is not changed.
        setup: the device that the network is on, and the shape of its input.
        clock: of that device.
        seconds: after which no new round begins.
        serving: the form that networks run in.
    """
    started, share = time.monotonic(), CoreShare()
    model, anatomy = dense
    mixed = [dense, *(_cut_copy(dense, masks) for masks in mixed_layouts(anatomy))]
    layouts = whole_layouts(anatomy)
    inputs = random_rows(model, setup.shape)
    whole = [serving.runner(_cut_copy(dense, masks)[0], inputs) for masks in layouts]
    of_mixed = [serving.runner(network, inputs) for network, _ in mixed]
    samples = _Samples([[] for _ in layouts])
    with torch.inference_mode():
        serving.warm(whole[-1])
        for run in (*of_mixed, *whole):
            run()  # memory is allocated and kernels are chosen at the first use
        for _ in _rounds(TABLE_ROUNDS, seconds):
            for (network, parts), run in zip(mixed, of_mixed, strict=True):
                eager = serving.eager(network, inputs)
                samples.add(parts, *_time_blocks(network, parts, run, eager, clock, hold=serving.hold))
            for times, run in zip(samples.whole, whole, strict=True):
                times.append(_settled(run, clock))
    table = samples.table(layouts, setup, seconds=time.monotonic() - started)
    return replace(table, core_share=share.read())


def measure_whole(
    dense: Network,
    masks: Masks,
    setup: LatencySetup,
    clock: Clock,
    *,
    seconds: float | None = None,
    serving: Serving = AS_THEY_ARE,
) -> Timed:
    """Time the network that `masks` leaves of `dense`.

    Both networks run in turns, so that the machine's other work affects both alike. In its turn each runs several
    times, after an untimed run that fills the caches.
    """
    inputs = random_rows(dense[0], setup.shape)
    runs = [serving.runner(network, inputs) for network in (dense[0], _cut_copy(dense, masks)[0])]
    serving.warm(runs[0])
    (whole, cut_times), share = time_in_turns(runs, clock, seconds=seconds)
    low, middle, high = quartiles(cut_times)
    return Timed(setup, middle, high - low, quartiles(whole)[1], share)


def time_in_turns(
    runs: Sequence[Callable[[], Any]], clock: Clock | None = None, *, seconds: float | None = None
) -> tuple[list[list[float]], float]:
    """Time several networks in turns, in inference mode.

    Args:
        runs: each runs one network once.
        clock: of their device; by default the CPU's.
        seconds: after which no new round begins.

    Returns:
        The milliseconds of each network's runs, and the share of its runnable time in which the process had a core.
    """
    clock = CpuClock() if clock is None else clock
    times: list[list[float]] = [[] for _ in runs]
    share = CoreShare()
    with torch.inference_mode():
        for run in runs:
            run()
        for _ in _rounds(WHOLE_ROUNDS, WHOLE_SECONDS if seconds is None else seconds):
            for place, run in enumerate(runs):
                times[place] += _turn(run, clock)
    return times, share.read()


def quartiles(times: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


class _Samples:
    """The measured times of blocks and of whole networks, in milliseconds."""

    def __init__(self, whole: list[list[float]]) -> None:
        self.whole = whole
        self.attention: defaultdict[int, list[float]] = defaultdict(list)
        self.ffn: defaultdict[int, list[float]] = defaultdict(list)
        self.fixed: list[float] = []

    def add(self, anatomy: Anatomy, whole_ms: float, parts: Sequence[tuple[float, float]]) -> None:
        """Add one pass of a network: its time, and (attention, ffn) of each of its layers."""
        for layer, (attention, ffn) in zip(anatomy.layers, parts, strict=True):
            self.attention[len(layer.heads)].append(attention)
            self.ffn[len(layer.neurons)].append(ffn)
        self.fixed.append(whole_ms - sum(map(sum, parts)))

    def table(self, layouts: list[Masks], setup: LatencySetup, *, seconds: float) -> LatencyTable:
        """Return the table of medians; `layouts` are the networks timed as a whole, the last one is dense."""
        heads, neurons = sorted(self.attention), sorted(self.ffn)
        low, high = np.quantile(self.whole[-1], [0.25, 0.75])
        parts = LatencyTable(
            bench=setup,
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
        # a larger network is not faster: where it was, that was noise
        whole = np.maximum.accumulate([np.median(times) for times in self.whole])
        sums = np.maximum.accumulate([parts.sum_of_parts(masks) for masks in layouts])
        return replace(parts, sums_ms=tuple(sums.tolist()), whole_ms=tuple(whole.tolist()))


def _time_blocks(
    model: PreTrainedModel,
    anatomy: Anatomy,
    run: Callable[[], Any],
    eager: Callable[[], Any],
    clock: Clock,
    *,
    hold: Callable[[], None],
) -> tuple[float, list[tuple[float, float]]]:
    """(time of the network, [(attention, ffn) of each layer]); the blocks are scaled to the time without marks."""
    whole = _settled(run, clock)
    labels: list[str] = []
    with _marked(model, anatomy, clock, labels):
        hold()
        clock.mark()
        eager()
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
    """Mark every layer's start, the start of its ffn block and its end, inside the context."""

    def marks(label: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            clock.mark()
            labels.append(label)

        return hook

    where = find_architecture(anatomy.architecture)
    with ExitStack() as hooks:
        for layer in encoder_layers(model, anatomy.architecture):
            hooks.callback(layer.register_forward_pre_hook(marks("start")).remove)
            ffn = layer.get_submodule(where.ffn.pre_norm or where.ffn.block)
            hooks.callback(ffn.register_forward_pre_hook(marks("ffn")).remove)
            hooks.callback(layer.register_forward_hook(marks("end")).remove)
        yield


def _turn(run: Callable[[], Any], clock: Clock) -> list[float]:
    """Return the times of one network's turn in ms: of several runs, or of a single one that takes long."""
    times = [_timed(run, clock)]
    repeats = int(np.clip(TURN_S * MILLISECONDS / max(times[0], 1e-9), 1, MOST_REPEATS))
    return times if repeats == 1 else [_timed(run, clock) for _ in range(repeats)]


def _settled(run: Callable[[], Any], clock: Clock) -> float:
    """Return the time of a network in ms; of a fast one, that of a second run, whose caches are filled."""
    first = _timed(run, clock)
    return first if first > TURN_S * MILLISECONDS else _timed(run, clock)


def _timed(run: Callable[[], Any], clock: Clock) -> float:
    clock.mark()
    run()
    clock.mark()
    return clock.read()[1]


def _rounds(most: int, seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    for number in range(most):
        if number >= LEAST_ROUNDS and time.monotonic() > end:
            return
        yield number


def random_rows(model: PreTrainedModel, shape: Shape) -> dict[str, Tensor]:
    """Rows of random words without padding, [B, T]; or random images, which have one number of tokens."""
    generator = torch.Generator().manual_seed(0)
    if model.main_input_name == IMAGES:
        pixels = torch.rand((shape.batch, *image_shape(model.config)), generator=generator)
        return {IMAGES: pixels.to(model.device, model.dtype)}
    words = model.config.vocab_size
    tokens = torch.randint(words // 2, words, (shape.batch, shape.length), generator=generator).to(
        model.device
    )
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _cut_copy(dense: Network, masks: Masks) -> Network:
    """Return a cut copy; parameters that the cut does not change are shared with the dense network."""
    model, anatomy = copied(*dense, own=())
    return model, cut(model, anatomy, masks)
