"""Latency: a table's sums by hand, and on a clock that only matrix products move, where all must be exact."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from transformers.pytorch_utils import Conv1D

from pipeline.driver.search.latency import check_grid, shapes_of
from pipeline.driver.tracking.notes import study_note
from pipeline.driver.tracking.published import front_table
from pipeline.fronts.front import load_front
from pipeline.fronts.pick import pick
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.source import ModelSource, build
from pipeline.study.records import BadInput, Masks
from pipeline.study.store import LatencySetup, LatencyTable, Shape, Store, StudyLatency, Timed, TimedPoint
from pipeline.trial.latency import (
    CpuClock,
    FrontRequest,
    grids,
    measure_table,
    measure_whole,
    random_rows,
    setup_on,
    time_front,
)
from pipeline.trial.latency.layouts import mixed_layouts
from pipeline.trial.latency.serving import AS_THEY_ARE, Serving, serving_on
from pipeline.trial.latency.timing import LEAST_ROUNDS
from tests.kit.networks import KINDS
from tests.kit.synthetic import point, record, spec

BENCH = LatencySetup("a CPU", 1, 2, 8)
SHAPE = Shape(2, 8)
TABLE = LatencyTable(
    bench=BENCH,
    fixed_ms=2.0,
    heads=(0, 1, 4),
    attention_ms=(0.5, 3.0, 9.0),
    neurons=(0, 10),
    ffn_ms=(0.25, 10.25),
    sums_ms=(2.0, 3.5, 40.5),
    whole_ms=(1.0, 2.5, 40.5),
    spread_ms=0.1,
    seconds=1.0,
)


def masks(heads: list[int], neurons: list[int], *, gone: tuple[int, ...] = ()) -> Masks:
    made = Masks(
        np.arange(4) < np.array(heads)[:, None],
        np.arange(10) < np.array(neurons)[:, None],
        np.ones(len(heads), bool),
    )
    for layer in gone:
        made.layers[layer] = made.heads[layer] = made.neurons[layer] = False
    return made


@pytest.mark.parametrize(
    ("heads", "neurons", "gone", "total"),
    [
        ([4, 4], [10, 10], (), 2 + 2 * (9 + 10.25)),
        ([0, 4], [10, 0], (), 2 + 0.5 + 10.25 + 9 + 0.25),
        ([2, 0], [5, 0], (), 2 + 5 + 5.25 + 0.5 + 0.25),  # 2 heads: a third of the way from 1 to 4
        ([4, 4], [10, 10], (0,), 2 + 9 + 10.25),  # a layer that is gone costs nothing
        ([4, 4], [10, 10], (0, 1), 2),
    ],
)
def test_sums_by_hand(heads: list[int], neurons: list[int], gone: tuple[int, ...], total: float) -> None:
    assert TABLE.sum_of_parts(masks(heads, neurons, gone=gone)) == pytest.approx(total)


def test_small_networks_take_what_they_took_whole() -> None:
    assert TABLE.predict(masks([0, 0], [0, 0], gone=(0, 1))) == pytest.approx(1.0)
    assert TABLE.predict(masks([0, 0], [0, 0])) == pytest.approx(2.5)
    # the sum is 21.25, of the way from 3.5 to 40.5 the part 17.75 / 37
    assert TABLE.predict(masks([4, 4], [10, 10], gone=(0,))) == pytest.approx(2.5 + 38 * 17.75 / 37)
    assert TABLE.predict(masks([4, 4], [10, 10])) == TABLE.dense_ms == 40.5


class Ticking:
    """A clock that stands still but for matrix products: a product of n weights takes n µs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.marks: list[float] = []

    def mark(self) -> None:
        self.marks.append(self.now)

    def read(self) -> list[float]:
        marks, self.marks = self.marks, []
        return [mark - marks[0] for mark in marks]

    @contextmanager
    def ticking(self) -> Iterator[None]:
        def hook(module: nn.Module, *_: object) -> None:
            if isinstance(module, nn.Linear | Conv1D):
                self.now += module.weight.numel() / 1000

        handle = register_module_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


@pytest.fixture(scope="module")
def tables(make_model):
    """Per architecture: a dense network, its table on a ticking clock, and the clock."""
    found = {}
    for kind in sorted(ARCHITECTURES):
        dense, clock = make_model(kind), Ticking()
        with clock.ticking():
            found[kind] = dense, measure_table(dense, BENCH, clock, seconds=0.0), clock
    return found


def test_in_a_gpus_form_whole_networks_are_replayed_and_blocks_held_back(make_model) -> None:
    """With a stand-in for capturing that computes again: the same table, of a clock that counts products."""
    dense, clock, seen = make_model("bert"), Ticking(), Counter()

    def capture(work):
        seen["captured"] += 1
        work()

        def replay() -> None:
            seen["replayed"] += 1
            work()

        return replay, ()

    serving = Serving("bf16", capture, 0.01, lambda: seen.update(held=1))
    with clock.ticking():
        table = measure_table(dense, BENCH, clock, seconds=0.0, serving=serving)
        timed = measure_whole(dense, dense[1].present, BENCH, clock, seconds=0.0, serving=serving)
        expected = measure_table(dense, BENCH, clock, seconds=0.0)
    assert serving.name == "bf16, graph"
    assert table.attention_ms == pytest.approx(expected.attention_ms)
    assert table.ffn_ms == pytest.approx(expected.ffn_ms)
    assert table.whole_ms == pytest.approx(expected.whole_ms)
    assert timed.ms == pytest.approx(table.dense_ms)
    mixed = len(mixed_layouts(dense[1])) + 1
    assert seen["captured"] == mixed + len(table.whole_ms) + 2
    assert seen["held"] == mixed * LEAST_ROUNDS
    assert seen["replayed"] > seen["captured"] * LEAST_ROUNDS


def test_a_network_that_cannot_be_captured_is_timed_as_it_is(make_model) -> None:
    def fails(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    model, _ = make_model("bert")
    rows = random_rows(model, SHAPE)
    assert Serving("bf16", fails).checked(model, rows).name == "bf16"
    assert Serving("bf16", lambda work: (work, ())).checked(model, rows).name == "bf16, graph"
    assert serving_on(torch.device("cpu")) == AS_THEY_ARE


def test_a_tables_parts_are_the_weights_of_the_blocks(tables) -> None:
    """32 features, 4 heads of 8: a head has 4 x 8 x 32 weights, a neuron 2 x 32."""
    for (_, anatomy), table, _ in map(tables.get, KINDS):
        assert (table.heads, table.neurons) == grids(anatomy)
        assert table.heads == (0, 1, 2, 3, 4)
        assert {0, 1, 64} <= set(table.neurons)
        assert table.attention_ms == pytest.approx([1.024 * heads for heads in table.heads])
        assert table.ffn_ms == pytest.approx([0.064 * neurons for neurons in table.neurons])
        assert table.dense_ms == pytest.approx(table.fixed_ms + 3 * (4 * 1.024 + 64 * 0.064))
        assert table.bench == BENCH


@given(
    kind=st.sampled_from(sorted(ARCHITECTURES)),
    heads=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    neurons=st.lists(st.integers(0, 64), min_size=3, max_size=3),
    gone=st.sets(st.integers(0, 2), max_size=3),
)
def test_a_tables_prediction_is_the_time_of_the_whole_network(tables, kind, heads, neurons, gone) -> None:
    dense, table, clock = tables[kind]
    kept = Masks(
        np.arange(4) < np.array(heads)[:, None], np.arange(64) < np.array(neurons)[:, None], np.ones(3, bool)
    )
    for layer in gone:
        kept.layers[layer] = kept.heads[layer] = kept.neurons[layer] = False
    with clock.ticking():
        timed = measure_whole(dense, kept, BENCH, clock, seconds=0.0)
    assert timed.ms == pytest.approx(table.predict(kept))
    assert timed.dense_ms == pytest.approx(table.dense_ms)
    assert timed.spread_ms == pytest.approx(0.0, abs=1e-9)


def test_timing_leaves_the_network_as_it_was(make_model) -> None:
    model, anatomy = make_model("bert")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_table((model, anatomy), BENCH, CpuClock(), seconds=0.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert anatomy.present.same(Masks.full(3, 4, 64))


def test_the_cpus_clock_counts_milliseconds() -> None:
    clock = CpuClock()
    clock.mark()
    time.sleep(0.02)
    clock.mark()
    first, second = clock.read()
    assert first == 0.0
    assert 20 <= second < 2000
    assert clock.read() == []


def with_times(root: Path) -> Store:
    """A study of two networks on the front, both read from a table, the first one timed, too."""
    points = [
        replace(each, measurement=replace(each.measurement, latency_ms=ms, dense_latency_ms=8.0))
        for each, ms in ((point(0.9, 0.2), 6.0), (point(0.8, 0.6), 3.0))
    ]
    store = Store(root)
    store.write_spec(replace(spec(), objective="latency", latency_at="2x8"))
    store.study("toy").write_record(record(0, *points))
    other = replace(BENCH, batch=32)
    times = (Timed(other, 60.0, 1.0, 90.0), Timed(BENCH, 5.0, 0.5, 10.0))
    store.study("toy").latency.write(StudyLatency(TABLE, (TimedPoint(0, 0, times),)))
    return store


def test_a_disturbed_measurement_is_said_and_made_again(tmp_path: Path) -> None:
    store = with_times(tmp_path)
    known = store.study("toy").latency.read()
    assert not load_front("toy", store=store.root).latency_disturbed
    [timed] = known.timed
    slow = replace(timed, times=(timed.times[0], replace(timed.times[1], core_share=0.5)))
    store.study("toy").latency.write(StudyLatency(TABLE, (slow,)))
    found = load_front("toy", store=store.root)  # a disturbed measurement gives way to the table
    assert [(p.latency_ms, p.latency_source) for p in found.points] == [(6.0, "table"), (3.0, "table")]
    assert not found.latency_disturbed
    store.study("toy").latency.write(StudyLatency(replace(TABLE, core_share=0.5), (slow,)))
    found = load_front("toy", store=store.root)
    assert found.latency_disturbed
    assert "other work" in found.latency_conditions
    # the table's own share counts only while a point is read from it
    store.study("toy").latency.write(StudyLatency(replace(TABLE, core_share=0.5), (timed,)))
    assert load_front("toy", store=store.root).latency_disturbed
    both = (timed, replace(timed, point=1))
    store.study("toy").latency.write(StudyLatency(replace(TABLE, core_share=0.5), both))
    assert not load_front("toy", store=store.root).latency_disturbed


def test_only_what_was_disturbed_is_timed_again(make_config) -> None:
    source = ModelSource("bert", "", json.loads(make_config("bert").to_json_string()), {}, {})
    here = setup_on(torch.device("cpu"), SHAPE)
    good, bad = Timed(here, 5.0, 0.5, 10.0), Timed(here, 5.0, 0.5, 10.0, core_share=0.5)
    dense = build(source, seed=0)[1].present
    wanted = tuple((TimedPoint(0, place, (each,)), dense) for place, each in enumerate((good, bad)))
    kept, again = time_front(source, FrontRequest((SHAPE,), wanted))
    assert kept.times == (good,)
    assert again.times[0].ms != 5.0


def test_latency_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    store = with_times(tmp_path)
    found = store.study("toy").latency.read()
    assert found.table == TABLE
    assert [each.ms for each in found.of(0, 0)] == [60.0, 5.0]
    assert found.of(0, 1) == found.of(1, 0) == ()
    assert store.study("another").latency.read() == StudyLatency()


def test_a_front_distinguishes_measured_from_predicted(tmp_path: Path) -> None:
    found = load_front("toy", store=with_times(tmp_path).root)
    measured, read = found.points
    assert (measured.latency_ms, measured.latency_source, measured.speedup) == (5.0, "measured", 2.0)
    assert (read.latency_ms, read.latency_source, read.speedup) == (3.0, "table", pytest.approx(8 / 3))
    # what is searched on is the table, for all points alike
    assert [p.gain for p in found.points] == pytest.approx([0.25, 0.625])
    assert found.hypervolume == pytest.approx(0.25 * 0.4 + 0.375 * 0.3)
    assert found.bench == BENCH


def test_mlflow_shows_milliseconds_and_speedup(tmp_path: Path) -> None:
    found = load_front("toy", store=with_times(tmp_path).root)
    note = study_note(found, table="t", charts="c").replace("&emsp;", "")
    assert "| 0.01 MB | 0.00 M | 5 (2.0 ×) | 0 | curve |" in note
    assert "| 0.01 MB | 0.00 M | ~3 (2.7 ×) | 0 | curve |" in note
    table = front_table(found)
    columns = dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
    assert columns["latency_ms"] == (5.0, 3.0)
    assert columns["latency_source"] == ("measured", "table")
    assert columns["latency_ms_32x8"] == (60.0, None)


def test_the_best_point_within_a_latency(tmp_path: Path) -> None:
    found = load_front("toy", store=with_times(tmp_path).root)
    assert pick(found, max_latency_ms=5.5).metric == 0.9  # 6.0 in the table, 5.0 when it was timed
    assert pick(found, max_latency_ms=4.0).metric == 0.8
    with pytest.raises(BadInput, match=r"latency <= 1 ms.*latencies of 3.00 to 5.00 ms"):
        pick(found, max_latency_ms=1.0)


def test_shapes_are_read_and_the_first_is_the_studys() -> None:
    assert shapes_of("1x16,8x4,1x16", length=9, max_length=40) == (Shape(1, 16), Shape(8, 4))
    assert shapes_of(None, length=9, max_length=40) == (Shape(1, 9),)
    assert shapes_of("none", length=9, max_length=40) == ()
    with pytest.raises(BadInput, match=r"8x41.*positions for 40"):
        shapes_of("1x16,8x41", length=9, max_length=40)


@pytest.mark.parametrize("grid", ["", "8", "8x", "x8", "0x8", "8x0", "8x8,", "8x8 16x8", "-1x8", "8X8"])
def test_what_is_no_grid_is_refused(grid: str) -> None:
    with pytest.raises(BadInput, match="BATCHxTOKENS"):
        check_grid(grid, objective="compression")


def test_a_search_on_latency_measures_it() -> None:
    check_grid("none", objective="macs")
    with pytest.raises(BadInput, match="a search on latency measures it"):
        check_grid("none", objective="latency")
