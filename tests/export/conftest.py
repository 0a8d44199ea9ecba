"""A study of one trial, as a search leaves it: store, kept weights, MLflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pipeline.driver.tracking import open_tracking
from pipeline.study.provenance import provenance
from pipeline.study.records import refer
from pipeline.study.store import Store
from tests.kit.onetrial import NAME, Study, make_study
from tests.kit.trials import SNIP

PARAMS = SNIP | {"rounds": 1, "batch_size": 32, "threshold": 0.9, "recover_epochs": 0.5, "tune_epochs": 2}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    found = make_study(tmp_path_factory.mktemp("export"), PARAMS)
    tracker = open_tracking(None, store_root=found.store.root)
    tracker.start_study(found.spec, provenance=provenance())
    tracker.publish(found.record)
    tracker.finish_study("complete")
    return Study(found.store.root, found.task_file)


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    """A copy that a test may harm, without MLflow: that keeps whole paths."""
    shutil.copytree(made.store / "studies", tmp_path / "store" / "studies")
    shutil.copytree(made.task_file.parent, tmp_path / "task")
    store = Store(tmp_path / "store")
    store.study(NAME).task.write(refer(str(tmp_path / "task" / made.task_file.name)))
    return Study(store.root, tmp_path / "task" / made.task_file.name)
