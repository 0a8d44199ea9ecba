"""What a model in MLflow says that it needs, and that writing it reads no package's list of files."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.driver.tracking.models import REQUIREMENTS, ExportedModel, write_model


def test_a_model_names_what_is_installed_and_no_package_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib_metadata
    from mlflow.utils import environment, requirements_utils

    searches: list[int] = []

    def searched() -> dict[str, list[str]]:
        searches.append(1)
        return {}

    monkeypatch.setattr(importlib_metadata, "packages_distributions", searched)
    monkeypatch.setattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    checked = environment.warn_dependency_requirement_mismatches
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "config.json").write_text("{}")
    model = ExportedModel(0, "small", tmp_path / "network", ("text",), 32, True, {})
    write_model(tmp_path / "model", model, model_id="m-1", run_id="r")
    lines = {*(tmp_path / "model" / "requirements.txt").read_text().splitlines()}
    assert {f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS} < lines
    assert f"mlflow=={version('mlflow')}" in lines
    assert searches == []
    # MLflow's own check is back for models that others save in this process
    environment.warn_dependency_requirement_mismatches(["torch"])
    assert searches == [1]
    assert environment.warn_dependency_requirement_mismatches is checked
