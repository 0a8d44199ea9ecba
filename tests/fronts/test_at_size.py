"""Models as they came beside networks cut from other models: by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.fronts.at_size import at_size
from pipeline.fronts.front import Front, load_front
from pipeline.fronts.report import report
from pipeline.study.records import Point
from pipeline.study.store import LatencySetup, Store
from tests.kit.synthetic import ANCHORS, point, record, spec


def sized(metric: float, compression: float, mb: float) -> Point:
    made = point(metric, compression, kind="recovered")
    return replace(made, measurement=replace(made.measurement, size_mb=mb))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A large model of 100 MB, cut to 60 and 30; a small one of 40 MB, cut to 20; another task's model of 1 MB."""
    studies = (
        ("large", "toy", 0.90, 100.0, [sized(0.89, 0.5, 60), sized(0.85, 0.8, 30)]),
        ("large-seed1", "toy", 0.90, 100.0, [sized(0.87, 0.75, 40)]),
        ("small", "toy", 0.86, 40.0, [sized(0.84, 0.6, 20)]),
        ("other", "else", 0.99, 1.0, [sized(0.98, 0.6, 0.5)]),
    )
    for name, task, dense, mb, points in studies:
        anchors = replace(ANCHORS, dense=dense, dense_size_mb=mb)
        model = name.partition("-")[0]
        kept = Store(tmp_path)
        kept.write_spec(
            replace(
                spec(name, task=task), anchors=anchors, model=model, model_fingerprint=model, seed=len(name)
            )
        )
        kept.study(name).write_record(record(0, *points))
    return tmp_path


def fronts(store: Path, *names: str) -> list[Front]:
    return [load_front(name, store=store) for name in names]


def test_the_best_cut_network_of_another_model_at_each_size(store: Path) -> None:
    large, small = at_size(fronts(store, "large", "large-seed1", "small", "other"))
    assert (large.model, large.size_mb, small.model, small.metric) == ("large", 100.0, "small", 0.86)
    assert large.by_mb is not None
    assert (large.by_mb.study, large.by_mb.point.metric) == ("small", 0.84)
    assert small.by_mb is not None
    assert (small.by_mb.study, small.by_mb.point.metric) == ("large-seed1", 0.87)  # 40 of 40 MB
    assert small.by_ms is None, "nothing was timed"
    assert small.sentence == (
        "small as it came (40.0 MB) has accuracy 0.8600; of at most its size the best cut from another model is trial "
        "0 of large-seed1 with 0.8700 (+0.0100, 40.0 MB)."
    )


def test_one_model_has_no_rivals(store: Path) -> None:
    assert at_size(fronts(store, "large", "large-seed1", "other")) == ()


def test_a_model_below_which_nothing_was_cut(store: Path) -> None:
    (large, small) = at_size(fronts(store, "large", "small"))
    assert small.by_mb is not None
    assert small.by_mb.point.metric == 0.85
    assert large.by_mb is not None
    lonely = at_size([load_front("large", store=store), replace_size(load_front("small", store=store), 10.0)])
    assert lonely[1].by_mb is None
    assert "so small" in lonely[1].sentence


def replace_size(front: Front, mb: float) -> Front:
    anchors = replace(front.spec.anchors, dense_size_mb=mb)
    return replace(front, spec=replace(front.spec, anchors=anchors))


def test_the_page_opens_over_megabytes_and_has_the_table(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    report(store, ["large", "small"], html=page)
    text = page.read_text()
    assert "a smaller model off the shelf?" in text
    assert '"first":"MB"' in text
    report(store, ["large"], html=page)
    assert '"first":"gain"' in page.read_text()
    assert "off the shelf?" not in page.read_text()


def timed(front: Front, bench: LatencySetup, ms: float, dense_ms: float) -> Front:
    points = tuple(replace(each, latency_ms=ms, dense_latency_ms=dense_ms) for each in front.points)
    return replace(front, points=points, bench=bench)


def test_times_are_compared_under_the_same_conditions_alone(store: Path) -> None:
    """A row of the large model, at 3 ms, is no rival of eight rows of the small one, at 4 ms."""
    one, eight = (LatencySetup("cpu", 2, batch, 16) for batch in (1, 8))
    large, small = fronts(store, "large", "small")
    (_, apart) = at_size([timed(large, one, 3.0, 9.0), timed(small, eight, 2.0, 4.0)])
    assert apart.latency_ms == 4.0
    assert apart.by_ms is None
    (_, alike) = at_size([timed(large, eight, 3.0, 9.0), timed(small, eight, 2.0, 4.0)])
    assert alike.by_ms is not None
    assert (alike.by_ms.study, alike.by_ms.point.latency_ms) == ("large", 3.0)
