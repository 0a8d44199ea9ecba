"""Protections taken away one by one: schedules show each of them, or they would not show the next fault of its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Mutant, killing
from tests.kit.postgres import binaries

pytestmark = [
    pytest.mark.usefixtures("hurry"),
    pytest.mark.filterwarnings(
        "ignore:This process .* is multi-threaded:DeprecationWarning",
        "ignore:The ``noload`` loader strategy",  # MLflow's, of SQLAlchemy 2.1
    ),
]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_schedule_shows_that_a_protection_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    if mutant.on_server and binaries() is None:
        pytest.skip("no PostgreSQL server here (apt-get install postgresql)")
    tried, found = killing(mutant, tmp_path)
    assert found is not None, f"none of {tried} schedules"
