"""What all tests of schedules need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.schedules import hurried


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short pauses, and no MLflow but the store's own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with hurried():
        yield
