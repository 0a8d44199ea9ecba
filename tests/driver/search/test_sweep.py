"""A sweep: which studies it is, in which order; a real one, gone on with, with its comparison and its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.cli.lists import spread
from pipeline.driver.search.grid import requests_of
from pipeline.driver.search.request import Search
from pipeline.driver.search.sweep import _in_time
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.toy import prunefront_here, small, write_task


def test_seeds_come_last_so_that_all_have_as_many_when_time_is_up() -> None:
    found = requests_of(Search(seed=3), tasks=["a", "b", "a"], models=(), methods=["snip", "obs"], seeds=2)
    assert [(each.seed, each.task, each.method) for each in found] == [
        (3, "a", "snip"), (3, "a", "obs"), (3, "b", "snip"), (3, "b", "obs"),
        (4, "a", "snip"), (4, "a", "obs"), (4, "b", "snip"), (4, "b", "obs"),
    ]  # fmt: skip
    assert {each.model for each in found} == {"builtin/tiny-bert"}
    assert len(requests_of(Search(name="x"), tasks=(), models=(), methods=(), seeds=1)) == 1
    with pytest.raises(BadInput, match="cannot name 2 studies"):
        requests_of(Search(name="x"), tasks=(), models=(), methods=["snip", "obs"], seeds=1)
    with pytest.raises(BadInput, match="--seeds"):
        requests_of(Search(), tasks=(), models=(), methods=(), seeds=0)


def test_minutes_are_those_of_all_studies() -> None:
    shares = [each.minutes for each in _in_time([Search(minutes=40.0)] * 4)]
    assert shares == pytest.approx([10.0, 40 / 3, 20.0, 40.0], abs=0.01)


def test_lists_take_several_words() -> None:
    assert spread(["sweep", "--tasks", "a", "b", "-q", "--methods", "x", "--seeds", "3"]) == [
        "sweep", "--tasks", "a", "--tasks", "b", "-q", "--methods", "x", "--seeds", "3",
    ]  # fmt: skip


@pytest.mark.usefixtures("inline")
def test_a_sweep_ends_in_a_comparison_and_a_page_and_is_gone_on_with(tmp_path: Path) -> None:
    task, store = write_task(tmp_path / "task", rows=160), tmp_path / "store"
    options = small(task)
    usual = [
        "sweep", "--tasks", options[1], *options[2:], "--methods", "fisher", "first-order", "--store", store,
        "--trials", "1", "--scheduler", "none", "--latency-grid", "none",
    ]  # fmt: skip
    refused = prunefront_here(*usual[:-1], "table", "--methods", "fischer")
    assert refused.returncode == 2
    assert not store.exists()
    made = prunefront_here(*usual, "--json")
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("study 1 of 2: fisher on") == 1
    said = json.loads(made.stdout)
    names = [each["study"] for each in said["studies"]]
    assert [each["method"] for each in said["studies"]] == ["fisher", "first-order"]
    (compared,) = said["comparisons"].values()
    assert set(names) <= set(re.findall(r"[\w.-]+", json.dumps(compared)))
    page = Path(said["page"])
    assert page == store / "sweep.html"
    assert all(name in page.read_text() for name in names)
    records = {name: Store(store).study(name).read_record(0) for name in names}
    again = prunefront_here(*usual, "--seeds", "2")
    assert again.returncode == 0, again.stderr
    assert "4 of 4 studies" in again.stderr
    assert "hypervolume" in again.stdout
    for name, record in records.items():
        assert Store(store).study(name).finished_numbers() == [0]
        assert Store(store).study(name).read_record(0).seconds == record.seconds  # it was not run again
