"""A trial's reports pass through Tune, and come out as they went in."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from pipeline.driver.execute.nodes import StoreUnseen
from pipeline.driver.execute.protocol import ASK, Event, Report
from pipeline.driver.execute.tune_adapters import QueueSearcher
from pipeline.study.records import Ask, Rung
from tests.kit.queue import FiveTrials

RUNG = Rung(1, 0.5, 80, metric=(0.9, 0.5), compression=(0.0, 0.25), macs=(7.0, 5.0))
OF_TUNE = {"training_iteration": 3, "time_total_s": 1.5, "node_ip": "10.0.0.7", "done": False}


@pytest.mark.parametrize(
    "report",
    [
        Report(3, Event.PROGRESS, {"epoch": 0.5, "train_loss": math.inf}),
        Report(3, Event.RUNG, rung=RUNG),
        Report(0, Event.STORE_UNSEEN),
        Report(12, Event.STORE_AWAY),
        Report(12, Event.STORE_LOST),
        Report(12, Event.DISK_FULL),
        Report(12, Event.ENDED),
    ],
)
def test_a_report_passes_through_tune(report: Report) -> None:
    result = flatten_dict(report.to_result() | OF_TUNE)  # as the driver receives it
    found = Report.from_result(result)
    assert found is not None
    assert found.node == "10.0.0.7"
    assert (found.number, found.event, found.values, found.rung) == (
        report.number,
        report.event,
        report.values,
        report.rung,
    )


def test_a_result_without_a_report_is_none() -> None:
    assert Report.from_result(OF_TUNE) is None


def number(config: dict[str, Any]) -> int:
    """The number of the trial that a configuration starts."""
    ask = config[ASK]
    assert isinstance(ask, Ask)
    return ask.number


def test_no_more_trials_start_than_the_limit_and_the_queue_goes_on_where_it_was() -> None:
    queue = FiveTrials()
    first = QueueSearcher(queue, lambda: 5, 2)
    assert [number(first.suggest("a")), number(first.suggest("b"))] == [0, 1]
    assert first.suggest("c") == Searcher.FINISHED
    first.on_trial_complete("a")
    assert queue.ends == [0]
    assert number(QueueSearcher(queue, lambda: 5).suggest("d")) == 2


def test_there_is_no_trial_without_room() -> None:
    searcher = QueueSearcher(FiveTrials(), lambda: 1)
    assert number(searcher.suggest("a")) == 0
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a")
    assert number(searcher.suggest("b")) == 1


@pytest.mark.parametrize(
    ("event", "error", "says"),
    [(Event.DISK_FULL, OSError, "No space left"), (Event.STORE_UNSEEN, StoreUnseen, "10.0.0.7")],
)
def test_what_ends_the_search_is_raised_at_every_later_use(
    event: Event, error: type[Exception], says: str
) -> None:
    searcher = QueueSearcher(FiveTrials(), lambda: 5)
    searcher.suggest("a")
    with pytest.raises(error, match=says):
        searcher.on_trial_result("a", flatten_dict(Report(0, event).to_result() | OF_TUNE))
    with pytest.raises(error, match=says):
        searcher.suggest("b")
