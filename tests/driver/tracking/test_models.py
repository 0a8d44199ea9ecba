"""What a model in MLflow says that it needs, and that writing it reads no package's list of files."""

from __future__ import annotations

import threading
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.driver.tracking.models import (
    REQUIREMENTS,
    ExportedModel,
    _requirements_unchecked,
    write_model,
)


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


def test_two_threads_that_save_put_mlflows_own_check_back() -> None:
    """Each replaces it for a moment: the second would take the first one's replacement for MLflow's own."""
    from mlflow.utils import environment

    checked = environment.warn_dependency_requirement_mismatches
    inside, leave = threading.Event(), threading.Event()

    def save() -> None:
        with _requirements_unchecked():
            inside.set()
            leave.wait(60)

    first, second = _requirements_unchecked(), threading.Thread(target=save)
    with first:
        second.start()
        assert not inside.wait(0.2), "one at a time"
    assert inside.wait(60)
    assert environment.warn_dependency_requirement_mismatches is not checked
    leave.set()
    second.join()
    assert environment.warn_dependency_requirement_mismatches is checked


@pytest.mark.parametrize(
    ("problem", "columns"),
    [("regression", ["value"]), ("single_label_classification", ["label", "score"])],
)
def test_no_rows_have_no_answers(problem: str, columns: list[str]) -> None:
    from pipeline.driver.tracking.served import Classifier

    served = Classifier()
    config = SimpleNamespace(
        problem_type=problem, num_labels=2 - (problem == "regression"), id2label={0: "a", 1: "b"}
    )
    served.model = SimpleNamespace(config=config)
    answers = served.predict(None, pd.DataFrame({"text": []}))
    assert (list(answers.columns), len(answers)) == (columns, 0)
