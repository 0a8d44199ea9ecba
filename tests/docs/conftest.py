"""The folder in which commands of the pages run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.pages_folder import copy_pages_folder, make_pages_folder


@pytest.fixture(scope="session")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    make_pages_folder(folder)
    return folder


@pytest.fixture
def here(made_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy as the current folder: pages may write into it."""
    copy_pages_folder(made_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "here"
