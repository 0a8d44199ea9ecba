"""Seconds of processor time by folder of tests, their ended children's too: `pytest --durations=20` prints them.

On a busy machine a test's wall clock says little. What a Ray or a server takes that outlives its test is not counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

NAME = "processor_s"


def processor_s() -> float:
    return sum(os.times()[:4])


class ProcessorTime:
    """A plugin: a test's time goes with the report of its teardown to the process that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self.is_asked = config.getoption("durations") is not None
        self.begun = 0.0
        self.seconds: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self.begun = processor_s()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[None]:
        if call.when == "teardown":
            item.user_properties.append((NAME, processor_s() - self.begun))
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            folder = report.nodeid.partition("::")[0].rpartition("/")[0]
            self.seconds[folder] += sum(each for name, each in report.user_properties if name == NAME)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.is_asked:
            total = sum(self.seconds.values())
            terminalreporter.section(f"{total:.0f} s of processor time")
            for folder, seconds in self.seconds.most_common():
                terminalreporter.write_line(f"{seconds:7.1f} {folder}")
