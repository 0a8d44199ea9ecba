"""Budgets count over restarts, and end a study at the first that is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.driver.search import budget as room
from pipeline.driver.search.budget import Budget, Meter
from pipeline.study.store import Spent, Store
from tests.kit.synthetic import spec


@pytest.mark.parametrize(
    ("budget", "spent", "volumes", "goes_on"),
    [
        (Budget(9), Spent(1e9, 1e9), [], True),
        (Budget(9, minutes=2), Spent(119.0, 0.0), [], True),
        (Budget(9, minutes=2), Spent(120.0, 0.0), [], False),
        (Budget(9, gpu_hours=0.5), Spent(1e9, 1799.0), [], True),
        (Budget(9, gpu_hours=0.5), Spent(0.0, 1800.0), [], False),
        (Budget(9, flat=2), Spent(), [0.2, 0.2], True),  # two trials have ended: nothing to compare yet
        (Budget(9, flat=2), Spent(), [0.2, 0.2, 0.2], False),
        (Budget(9, flat=2), Spent(), [0.2, 0.2, 0.3], True),
        (Budget(9, flat=2), Spent(), [0.2, 0.3, 0.3], True),
        (Budget(9, flat=2), Spent(), [0.3, 0.30001, 0.3001], False),  # a rise of less than a thousandth
        (Budget(9, flat=1), Spent(), [0.0, 0.0], False),
    ],
)
def test_what_a_budget_allows(budget: Budget, spent: Spent, volumes: list[float], goes_on: bool) -> None:
    assert budget.allows(spent, volumes) is goes_on


def test_a_meter_counts_on_where_the_last_driver_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    store = Store(tmp_path)
    store.write_spec(spec())
    first = Meter(store, "toy", gpus_per_trial=0.5)
    now[0] += 10
    first.tick(2)
    assert first.spent == Spent(10.0, 10.0)
    assert store.study("toy").spent.read() == Spent(), "not worth a file yet"
    now[0] += 25
    first.tick(1)
    assert store.study("toy").spent.read() == Spent(35.0, 22.5)
    now[0] += 5
    first.tick(4)  # and is killed: five seconds are lost
    now[0] += 3600
    second = Meter(store, "toy", gpus_per_trial=1.0)
    now[0] += 1
    second.tick(2)
    second.note()
    assert store.study("toy").spent.read() == Spent(36.0, 24.5)
