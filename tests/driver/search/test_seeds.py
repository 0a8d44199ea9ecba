"""Seeds of a search: their names, and time shared among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.driver.search.request import Search
from pipeline.driver.search.seeds import _each, run_seeds
from pipeline.driver.search.watcher import SilentWatcher
from pipeline.study.records import BadInput


def test_names_end_in_their_seed() -> None:
    assert [(one.seed, one.name) for one in _each(Search(name="x"), 3)] == [
        (0, "x"),
        (1, "x-seed1"),
        (2, "x-seed2"),
    ]
    assert [one.name for one in _each(Search(seed=4), 2)] == [None, None]  # the default name says the seed
    assert list(_each(Search(name="x", seed=4), 1)) == [Search(name="x", seed=4)]


def test_minutes_are_those_of_all_seeds() -> None:
    first, second, third = _each(Search(minutes=30.0), 3)
    assert first.minutes == pytest.approx(10.0, abs=0.01)
    assert second.minutes == pytest.approx(15.0, abs=0.01)  # what the first one left is the others'
    assert third.minutes == pytest.approx(30.0, abs=0.01)


def test_no_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--seeds"):
        run_seeds(Search(store=tmp_path / "store"), SilentWatcher(), seeds=0)
    assert not (tmp_path / "store").exists()
