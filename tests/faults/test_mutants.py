"""Protections taken away one by one: schedules show each of them, or they would not show the next fault of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Mutant, killing
from tests.kit.schedules import hurried

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning",
    "ignore:The ``noload`` loader strategy",  # MLflow's, of SQLAlchemy 2.1
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with hurried():
        yield


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_schedule_shows_that_a_protection_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    tried, found = killing(mutant, tmp_path)
    assert found is not None, f"none of {tried} schedules"
