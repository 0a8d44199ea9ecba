"""A front as it is read from a store: values worked out by hand."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pipeline.fronts.bounds import Bounds
from pipeline.fronts.front import FrontPoint, load_front, with_latency
from pipeline.fronts.pick import best_of_task, pick, why
from pipeline.study.records import BadInput, TrialRecord
from pipeline.study.store import LatencySetup, LatencyTable, Store, StudyLatency, Timed, TimedPoint
from tests.kit.synthetic import point, record, spec


def stored(root: Path, *records: TrialRecord, name: str = "toy", task: str = "toy") -> Path:
    store = Store(root)
    store.write_spec(spec(name, task=task))
    for each in records:
        store.study(name).write_record(each)
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two trials on the front, one dominated, one at chance, one failed, one stopped."""
    return stored(
        tmp_path,
        record(0, point(0.9, 0.0), point(0.8, 0.4), point(0.85, 0.4, kind="recovered")),
        record(1, point(0.7, 0.8), point(0.75, 0.5, kind="recovered")),
        record(2, point(0.5, 0.95, kind="recovered")),
        record(3, point(0.99, 0.99), state="failed", reason="the loss is not a number"),
        record(4, point(0.98, 0.98), state="stopped", reason="redundant"),
        record(5, point(0.6, 0.3, kind="recovered")),
    )


def test_the_front_is_of_complete_trials_above_the_constant(store: Path) -> None:
    found = load_front("toy", store=store)
    assert [(p.metric, p.compression, p.trial) for p in found.points] == [
        (0.9, 0.0, 0),
        (0.85, 0.4, 0),
        (0.75, 0.5, 1),
        (0.7, 0.8, 1),
    ]
    assert found.trials == 6
    assert found.left_out == {"failed": 1, "stopped": 1}
    assert found.reasons == {"the loss is not a number": 1, "redundant": 1}
    assert found.below_constant == 1
    assert found.epochs == 12.0


def test_hypervolume_is_the_area_above_the_constant(store: Path) -> None:
    found = load_front("toy", store=store)
    # from compression 0 on: 0.4 wide at 0.85, 0.1 at 0.75, 0.3 at 0.7, each above 0.5
    area = 0.4 * 0.35 + 0.1 * 0.25 + 0.3 * 0.2
    assert found.hypervolume == pytest.approx(area)
    assert found.hypervolume_normalised == pytest.approx(area / (0.9 - 0.5))


def test_a_curve_point_is_the_trial_that_cuts_there_and_does_not_recover(store: Path) -> None:
    curve = load_front("toy", store=store).points[-1]
    assert curve.kind == "curve"
    assert curve.params == {"threshold": 0.25, "recover_epochs": 0, "penalty_strength": 5.0}
    recovered = load_front("toy", store=store).points[1]
    assert recovered.params == {"threshold": 0.1, "recover_epochs": 2, "penalty_strength": 5.0}


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"max_drop": 0.06}, (0.85, 0.4)),
        ({"max_drop": 0.0}, (0.9, 0.0)),
        ({"min_metric": 0.72}, (0.75, 0.5)),
        ({"min_compression": 0.45}, (0.75, 0.5)),
        ({"min_compression": 0.3, "min_metric": 0.7}, (0.7, 0.8)),
        # heights over the chord from (0, 0.9) to (0.8, 0.7), both axes scaled to 1: 0.25, -0.125 inside
        ({"knee": True}, (0.85, 0.4)),
        ({}, (0.9, 0.0)),  # the smallest within 0.01 of the dense metric, 0.9
        ({"point": 3}, (0.75, 0.5)),
        ({"max_mb": 2.0}, (0.9, 0.0)),
    ],
)
def test_pick(store: Path, bounds: dict[str, float], expected: tuple[float, float]) -> None:
    picked = pick(load_front("toy", store=store), **bounds)
    assert (picked.metric, picked.compression) == expected


def test_pick_refuses_what_the_front_does_not_have(store: Path) -> None:
    with pytest.raises(
        BadInput, match=r"offers metrics of 0.7000 to 0.9000 at compressions of 0.800 to 0.000"
    ):
        pick(load_front("toy", store=store), min_metric=0.8, min_compression=0.7)


def test_where_no_point_is_near_dense_it_is_the_knee_and_that_is_said(tmp_path: Path) -> None:
    points = (point(0.8, 0.3), point(0.79, 0.6), point(0.6, 0.7))
    found = load_front("toy", store=stored(tmp_path, *(record(n, each) for n, each in enumerate(points))))
    chosen = pick(found)
    assert chosen == found.knee
    assert why(found, Bounds(), chosen) == (
        f"No network is within 0.01 of the dense {found.spec.metric_name}: this is the front's knee, "
        f"{0.9 - chosen.metric:.4f} below. --max-drop chooses another."
    )
    assert why(found, Bounds(knee=True), chosen) is None


def test_a_metric_exactly_at_the_bound_is_within_it(store: Path) -> None:
    """Of 100 rows: 0.95 - 0.94 is 0.010000000000000009, and 0.57 - 0.05 is more than 0.52."""
    read = load_front("toy", store=store)
    for dense in range(56, 100):
        anchors = dataclasses.replace(read.spec.anchors, dense=dense / 100)
        points = tuple(
            dataclasses.replace(
                read.points[0], metric=(dense - drop) / 100, compression=drop / 10, gain=drop / 10
            )
            for drop in (0, 1, 2, 5, 6)
        )
        found = dataclasses.replace(read, spec=dataclasses.replace(read.spec, anchors=anchors), points=points)
        assert pick(found) == points[1]
        assert why(found, Bounds(), points[1]).startswith("Chosen: the smallest network within 0.01 of the")
        for drop, expected in ((0.0, 0), (0.02, 2), (0.05, 3)):
            assert pick(found, max_drop=drop) == points[expected]


def test_a_bound_of_zero_is_a_bound(store: Path) -> None:
    assert Bounds(max_drop=0.0, min_compression=0).given == ("max_drop", "min_compression")
    assert Bounds(knee=False).given == ()
    with pytest.raises(BadInput, match="--max-drop and --knee name different points"):
        Bounds(max_drop=0.0, knee=True)
    found = load_front("toy", store=store)  # dense has 0.9
    assert pick(found, min_compression=0.0).metric == 0.9


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"min_compression": 95}, "--min-compression is 95. It is a share, from 0 to 1. Did you mean 0.95?"),
        ({"min_sparsity": -0.1}, "--min-sparsity is -0.1"),
        ({"max_drop": -0.2}, "--max-drop is -0.2. It must be 0 or more."),
        ({"point": 0}, "numbered from 1"),
        ({"point": 9}, "--point is 9; the front of 'toy' has 4 rows."),
        ({"knee": True, "max_drop": 0.1}, "--max-drop and --knee name different points"),
    ],
)
def test_bounds_that_no_point_can_have_are_refused(store: Path, bounds: dict[str, float], says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        pick(load_front("toy", store=store), **bounds)


def test_a_front_in_python(store: Path) -> None:
    found = load_front("toy", store=store)
    assert len(found) == len(list(found)) == 4
    assert found[0] == found.points[0]
    assert (
        repr(found) == "<Front toy: snip on toy with tiny, 4 points, accuracy 0.9000 to 0.7000 at 0 to 80 %>"
    )
    table = found.to_pandas()
    assert table["metric"].tolist() == [0.9, 0.85, 0.75, 0.7]
    assert table["params.penalty_strength"].notna().all()
    html = found._repr_html_()
    assert html.count("<tr>") == 5
    assert "<svg" in html


def test_an_empty_front_is_read_and_has_no_best_point(tmp_path: Path) -> None:
    found = load_front("toy", store=stored(tmp_path, record(0, state="failed", reason="out of memory")))
    assert found.points == ()
    assert found.hypervolume == 0.0
    assert found.knee is None
    with pytest.raises(BadInput, match="has no finished trial"):
        pick(found)


def test_best_of_a_task_looks_across_its_studies(store: Path) -> None:
    stored(store, record(0, point(0.88, 0.6)), name="other")
    stored(store, record(0, point(0.99, 0.9)), name="another-task", task="elsewhere")
    found, best = best_of_task("toy", Bounds(min_compression=0.5), store=store)
    assert (found.spec.name, best.metric) == ("other", 0.88)
    with pytest.raises(BadInput, match="elsewhere, toy"):
        best_of_task("nothing", store=store)


def test_a_drop_over_several_studies_is_one_below_the_best_dense_network(store: Path) -> None:
    """`a-small` is the first by name; its own dense network has 0.7."""
    weak = spec("a-small")
    weak = dataclasses.replace(weak, anchors=dataclasses.replace(weak.anchors, dense=0.7))
    Store(store).write_spec(weak)
    Store(store).study("a-small").write_record(record(0, point(0.7, 0.9)))
    found, best = best_of_task("toy", Bounds(max_drop=0.06), store=store)
    assert (found.spec.name, best.metric) == ("toy", 0.85)


def test_front_points_are_records(store: Path) -> None:
    names = [field.name for field in dataclasses.fields(load_front("toy", store=store).points[0])]
    assert names[:6] == ["trial", "point", "kind", "round", "metric", "compression"]


def test_a_latency_of_a_busy_machine_gives_way_to_the_table_or_is_marked(store: Path) -> None:
    """Points without a time of their own keep the table's; every place prints `FrontPoint.latency`."""
    files = Store(store).study("toy")
    bench = LatencySetup("a CPU", 1, 1, 8)
    table = LatencyTable(bench, 1.0, (0,), (0.0,), (0,), (0.0,), (1.0, 3.0), (1.0, 2.0), 0.1, 1.0)
    quiet, busy = Timed(bench, 3.0, 0.1, 9.0, 1.0), Timed(bench, 30.0, 0.1, 90.0, 0.3)
    found = load_front("toy", store=store)
    timed = dataclasses.replace(found, points=tuple(_with_table(p, 4.0) for p in found.points))
    times = (TimedPoint(0, 0, (quiet,)), TimedPoint(0, 2, (busy,)))
    assert files.latency.read() == StudyLatency()
    shown = with_latency(timed, StudyLatency(table, times))
    assert [point.latency for point in shown.points] == ["3", "~4", "~4", "~4"]
    assert not shown.latency_disturbed
    noisy = dataclasses.replace(table, core_share=0.2)
    shown = with_latency(timed, StudyLatency(noisy, times))
    assert [point.latency for point in shown.points] == ["3", "30?", "~4?", "~4?"]
    assert why(shown, Bounds(max_latency_ms=5.0), shown.points[0]) == (
        "1 of 4 networks are above 5 ms by times that were measured while the machine did other work. The true times "
        "are shorter: faster networks may have been left out."
    )
    assert why(shown, Bounds(max_latency_ms=40.0), shown.points[0]) is None
    assert why(shown, Bounds(max_drop=0.1), shown.points[0]) is None
    with pytest.raises(
        BadInput, match=r"3 of 4 networks are above 2 ms .* faster networks may have been left"
    ):
        pick(shown, max_latency_ms=2.0)
    assert shown.dense_latency_ms == 9.0  # that of the quiet measurement
    assert "the true time is shorter" in shown.latency_conditions
    assert with_latency(found, StudyLatency()).points[0].latency == "–"


def _with_table(point: FrontPoint, ms: float) -> FrontPoint:
    return dataclasses.replace(point, latency_ms=ms, dense_latency_ms=12.0)


def test_a_front_plots_its_points(store: Path) -> None:
    found = load_front("toy", store=store)
    figure = found.plot()
    line = next(trace for trace in figure.data if trace.name == "front")
    assert list(zip(line.x, line.y, strict=True)) == [(100 * p.compression, p.metric) for p in found]
