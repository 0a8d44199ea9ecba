"""The folder in which commands of the pages run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.pages_folder import copy_pages_folder


@pytest.fixture
def here(pages_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy as the current folder: pages may write into it."""
    copy_pages_folder(pages_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "here"
