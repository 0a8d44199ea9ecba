"""Schedules of a study whose ledger is a folder of journals: a fault at points of a driver, then another one."""

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
    assert {each.fault for each in every} == set(FAULTS)
    assert wrong(study, every[::SAMPLE]) == []


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stops", [False, True], ids=["complete", "stopped"])
def test_every_fault_at_the_points_of_the_journal(tmp_path: Path, stops: bool) -> None:
    """Files of the store are the same with any ledger."""
    study = Study(tmp_path, journal=True, stops=stops)
    own = [
        at for at, name in enumerate(study.points, start=1) if name.startswith("commit") or "/ledger" in name
    ]
    every = [each for each in study.schedules() if each.at in own]
    assert wrong(study, every[stops::2]) == []
