"""Units by score per millisecond: by hand, and every choice per block by brute force."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Ask, Masks, Scores
from pipeline.study.store import LatencySetup, LatencyTable
from pipeline.trial.curve.allocation import Removal, choose, removal_order
from pipeline.trial.curve.timed_order import by_time, lower_hull
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.kit.trials import SHARED, curve

LAYERS, HEADS, NEURONS = 2, 3, 4


@pytest.fixture(scope="module")
def small(make_model) -> Anatomy:
    """Two layers of three heads and four neurons."""
    changes = {"num_attention_heads": HEADS, "hidden_size": 12, "intermediate_size": NEURONS}
    return make_model("bert", layers=LAYERS, **changes)[1]


def table(heads: list[float], neurons: list[float], *, fixed: float = 1.0) -> LatencyTable:
    """Milliseconds by the number of heads, and of neurons."""
    most = fixed + LAYERS * (heads[-1] + neurons[-1])
    return LatencyTable(
        LatencySetup("cpu", 1, 1, 8),
        fixed,
        tuple(range(len(heads))),
        tuple(heads),
        tuple(range(len(neurons))),
        tuple(neurons),
        (0.0, most),
        (0.0, most),
        0.0,
        0.0,
    )


def scores(draw: np.random.Generator) -> Scores:
    return Scores(heads=draw.random((LAYERS, HEADS)), neurons=draw.random((LAYERS, NEURONS)))


def ordered(values: Scores, anatomy: Anatomy, *, least: int = 0) -> tuple[Removal, ...]:
    return removal_order(values, anatomy, score_per_parameter=False, min_attention_blocks=least)


def test_the_hull_of_points_by_hand() -> None:
    across = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert lower_hull(across, np.array([0.0, 1.0, 2.0, 3.0, 4.0])) == [0, 4]  # one edge
    assert lower_hull(across, np.array([0.0, 1.0, 4.0, 9.0, 16.0])) == [0, 1, 2, 3, 4]
    assert lower_hull(across, np.array([0.0, 5.0, 6.0, 6.5, 20.0])) == [0, 3, 4]


def test_a_block_that_is_nearly_free_goes_first_by_hand(small) -> None:
    # the first two heads of a block save next to nothing, its last one 9 ms; a neuron saves 1 ms
    values = Scores(
        heads=np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]),
        neurons=np.array([[1.0, 1.5, 2.0, 2.5], [0.1, 0.2, 0.3, 9.0]]),
    )
    times = table([0.0, 9.0, 9.5, 10.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    order = by_time(ordered(values, small), small, times)
    found = [(r.kind, r.layer, round(r.score, 3)) for r in order]
    # per ms: neurons of layer 1: 0.1, 0.2, 0.3; heads of layer 0 together: 6 / 10; neurons of layer 0: 1; heads of
    # layer 1: 16 / 10; ...
    assert found[:3] == [("neuron", 1, 0.1), ("neuron", 1, 0.2), ("neuron", 1, 0.3)]
    assert found[3:6] == [("head", 0, 0.6)] * 3
    assert found[6] == ("neuron", 0, 1.0)
    assert found[7:11] == [("neuron", 0, 1.5)] + [("head", 1, 1.6)] * 3
    assert [score for *_, score in found] == sorted(score for *_, score in found)


@given(st.integers(0, 2**32 - 1))
def test_no_other_choice_of_units_is_cheaper_at_any_edge(small, seed: int) -> None:
    draw = np.random.default_rng(seed)
    times = table([0.0, *np.cumsum(draw.random(HEADS))], [0.0, *np.cumsum(draw.random(NEURONS))])
    values = scores(draw)
    order = by_time(ordered(values, small), small, times)
    assert len(order) == LAYERS * (HEADS + NEURONS)
    # every choice: of each block the first k units by score
    costs = [np.cumsum([0.0, *np.sort(row)]) for row in (*values.heads, *values.neurons)]
    saved = [np.array(ms)[-1] - np.array(ms)[::-1] for ms in (times.attention_ms, times.ffn_ms)]
    saved = [saved[0], saved[0], saved[1], saved[1]]
    every = [
        (sum(s[k] for s, k in zip(saved, ks, strict=True)), sum(c[k] for c, k in zip(costs, ks, strict=True)))
        for ks in itertools.product(*(range(len(c)) for c in costs))
    ]
    ends = [i for i in range(1, len(order) + 1) if i == len(order) or order[i].score > order[i - 1].score]
    for end in ends:
        step = choose(order, small, threshold=order[end - 1].score)
        assert step.removed == end
        now = times.sum_of_parts(small.present) - times.sum_of_parts(step.masks)
        cost = values.heads[~step.masks.heads].sum() + values.neurons[~step.masks.neurons].sum()
        assert cost <= min(c for s, c in every if s >= now - 1e-6) + 1e-6


def test_blocks_and_layers_are_ordered_too(small) -> None:
    times = table([0.0, 2.0, 4.0, 6.0], [0.0, 1.0, 1.5, 2.0, 3.0])
    blocks = ordered(Scores(attention=np.array([6.0, 1.0]), ffn=np.array([1.0, 9.0])), small)
    assert [(r.kind, r.layer) for r in by_time(blocks, small, times)] == [
        ("attention", 1),
        ("ffn", 0),
        ("attention", 0),
        ("ffn", 1),
    ]
    layers = ordered(Scores(layers=np.array([3.0, 1.0])), small)
    found = by_time(layers, small, times)
    assert [(r.layer, round(r.score, 4)) for r in found] == [(1, round(1 / 9, 4)), (0, round(3 / 9, 4))]


def test_what_always_stays_is_not_in_the_order(small) -> None:
    times = table([0.0, 9.0, 9.5, 10.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    order = by_time(ordered(scores(np.random.default_rng(0)), small, least=2), small, times)
    step = choose(order, small, threshold=np.inf)
    assert step.masks.heads.sum(axis=1).tolist() == [1, 1]
    assert isinstance(step.masks, Masks)


@pytest.mark.usefixtures("on_the_cpu")
def test_a_trial_orders_by_the_studys_table(make_inputs, tmp_path) -> None:
    params = SHARED | {"level": "neuron", "rearrange": False, "target": 0.5, "allocation": "latency"}
    times = LatencyTable(
        LatencySetup("cpu", 1, 1, 8),
        1.0,
        (0, 4),
        (0.0, 4.0),
        (0, 64),
        (0.0, 640.0),
        (0.0, 2000.0),
        (0.0, 2000.0),
        0.0,
        0.0,
    )
    job = TrialJob(Ask(3, params, 11), (tmp_path,))
    record = run_trial(replace(make_inputs("fisher"), latency=times), job, lambda _: None)
    half = next(point for point in curve(record) if point.measurement.compression > 0.4)
    # neurons take 160 times as long as their share of heads: they go first
    assert half.masks.heads.all()
    assert not half.masks.neurons.all()
    with pytest.raises(ValueError, match="no table of latencies"):
        run_trial(make_inputs("fisher"), TrialJob(Ask(4, params, 11), (tmp_path / "b",)), lambda _: None)
