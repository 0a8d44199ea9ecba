"""A driver that was taken over while it measured writes none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.driver.execute import Cluster
from pipeline.driver.search import latency
from pipeline.driver.search.watcher import SilentWatcher
from pipeline.study.ledger import LeaseLost
from pipeline.study.store import LatencySetup, LatencyTable, Shape, Store, StudyLatency, Timed, TimedPoint
from tests.kit.synthetic import point, record, spec

SETUP = LatencySetup("a CPU", 1, 1, 8)
CLUSTER = Cluster(1, 1.0, 0.0)


def table_of(ms: float) -> LatencyTable:
    return LatencyTable(SETUP, 1.0, (0, 1), (0.0, 1.0), (0, 1), (0.0, 1.0), (1.0, 3.0), (1.0, ms), 0.1, 1.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path)
    found.write_spec(spec())
    found.study("toy").write_record(record(0, point(0.9, 0.5, kind="recovered")))
    found.study("toy").gather()
    return found


def taken_over() -> None:
    raise LeaseLost("another driver")


@pytest.mark.parametrize("what", ["table", "front"])
def test_latencies_of_a_driver_that_was_taken_over_are_not_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    times = (TimedPoint(0, 0, (Timed(SETUP, 2.0, 0.1, 3.0),)),)
    theirs = StudyLatency(table_of(2.0), times if what == "table" else ())
    found: Any = table_of(3.0) if what == "table" else times

    def measured(*_: Any, **__: Any) -> Any:
        store.study("toy").latency.write(theirs)  # meanwhile, by the one that took over
        return found

    monkeypatch.setattr(latency, "run_alone", measured)
    common: Any = (CLUSTER, store, spec(), None)
    shape: Any = Shape(1, 8) if what == "table" else (Shape(1, 8),)
    measure: Any = latency.find_table if what == "table" else latency.time_networks
    with pytest.raises(LeaseLost):
        measure(*common, shape, SilentWatcher(), may_write=taken_over)
    assert store.study("toy").latency.read() == theirs
