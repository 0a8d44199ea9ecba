"""How many cores Ray is given on this machine."""

from __future__ import annotations

import pytest

from pipeline.driver.execute import Resources
from pipeline.driver.execute.cluster import cores_of_ray


@pytest.mark.parametrize(
    ("cores", "concurrent", "cpus_per_trial", "expected"),
    [(1, None, 1.0, 1), (1, 1, 1.0, 1), (1, 3, 1.0, 3), (2, 3, 0.5, 2), (1, 3, 0.5, 2), (8, 2, 1.0, 8)],
)
def test_ray_has_this_machines_cores_or_as_many_as_are_requested(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    concurrent: int | None,
    cpus_per_trial: float,
    expected: int,
) -> None:
    """On one core it had two, and two trials at once, each half as fast."""
    monkeypatch.setattr("pipeline.driver.execute.cluster.usable_cores", lambda: cores)
    requested = Resources(concurrent=concurrent, cpus_per_trial=cpus_per_trial)
    assert cores_of_ray(requested) == expected
