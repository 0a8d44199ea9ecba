"""Networks in 8 bits have a front over MB and one over ms; over compression they are not drawn."""

from __future__ import annotations

from pathlib import Path

from pipeline.fronts.figures import Series, front_figure, own_front
from pipeline.fronts.report import report
from pipeline.study.store import Int8Scores, Store
from tests.kit.synthetic import point, record, spec


def one(point: int, metric: float, mb: float, ms: float | None) -> Int8Scores:
    return Int8Scores(0, point, "dynamic", "engine", metric, metric, mb, ms, ms, 1, 48, 1, "cpu")


MEASURED = (one(1, 0.9, 30, 4.0), one(2, 0.85, 20, None), one(3, 0.8, 25, 2.0), one(4, 0.7, 10, 3.0))


def test_the_fronts_are_of_metric_and_each_cost() -> None:
    assert {each.point for each in own_front(MEASURED, "size_mb")} == {
        1,
        2,
        4,
    }  # 3 is larger and worse than 2
    assert {each.point for each in own_front(MEASURED, "ms")} == {1, 3}  # 2 was not timed, 4 is slower than 3
    assert own_front((one(1, 0.9, 30, None),), "ms") == []


def test_they_are_drawn_over_mb_and_ms_alone() -> None:
    figure = front_figure([Series(spec(), (), MEASURED)])
    lines = [each for each in figure.data if each.meta is not None and "only" in each.meta]
    assert [each.meta["only"] for each in lines] == ["MB", "ms", "MB ms"]
    assert all(set(each.x) == {None} for each in lines)
    marks = lines[-1]
    assert marks.meta["MB"] == [30, 20, 25, 10]
    assert marks.meta["ms"] == [4.0, None, 2.0, 3.0]
    assert "int8 dynamic" in marks.text[0]
    assert not [each for each in front_figure([Series(spec(), ())]).data if (each.meta or {}).get("only")]


def test_the_report_shows_what_a_study_keeps(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_spec(spec())
    store.study("toy").write_record(record(0, point(0.8, 0.4, kind="recovered"), point(0.7, 0.8)))
    for each in (one(0, 0.79, 30, 4.0), one(1, 0.7, 20, None)):
        store.study("toy").int8.add(each)
    store.study("toy").int8.add(one(0, 0.78, 30, 4.0))  # measured again: the later one stays
    assert [(each.point, each.metric) for each in store.study("toy").int8.read()] == [(0, 0.78), (1, 0.7)]
    report(tmp_path, ["toy"], html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Networks of toy in 8 bits" in page
    assert "in 8 bits (over MB and ms)" in page
