"""Schedules of a study whose ledger is a folder of journals; `make schedules` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.points import FAULTS
from tests.kit.schedules import Schedule, Study

SAMPLE = 60  # every so many-th schedule

pytestmark = [
    pytest.mark.usefixtures("hurry"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def wrong(study: Study, schedules: list[Schedule]) -> list[str]:
    outcomes = [study.try_out(schedule) for schedule in schedules]
    return [f"{each.schedule} ({each.point}): {'; '.join(each.wrong)}" for each in outcomes if each.wrong]


def test_a_sample_of_schedules_loses_and_doubles_nothing(tmp_path: Path) -> None:
    study = Study(tmp_path, journal=True)
    every = study.schedules()
    # nobody reads the clock after a journal's first line: a jump there changes nothing
    assert {each.fault for each in every} == set(FAULTS) - {"clock"}
    assert wrong(study, every[::SAMPLE]) == []
