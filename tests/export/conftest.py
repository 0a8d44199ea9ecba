"""A study of one trial, as a search leaves it: store, kept weights, MLflow."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pipeline.course import TrialJob
from pipeline.models import write_source
from pipeline.provenance import provenance
from pipeline.records import Anchors, StudySpec
from pipeline.reopening import inputs_of, refer
from pipeline.resolve import BUILTIN, resolve_model
from pipeline.store import Store
from pipeline.task import load_task, train_texts
from pipeline.tracking import open_tracking
from pipeline.trial import run_trial
from tests.test_trial import SNIP
from tests.toy import write_task

NAME = "toy"
PARAMS = SNIP | {"rounds": 1, "batch_size": 32, "threshold": 0.9, "recover_epochs": 0.5, "tune_epochs": 2}


@dataclass(frozen=True)
class Study:
    store: Path
    task_file: Path


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("export")
    task_file = write_task(folder / "task", rows=160)
    store = Store(folder / "store")
    task = load_task(str(task_file), cache=store.cache)
    source = resolve_model(
        BUILTIN,
        outputs=task.outputs,
        class_names=task.class_names,
        regression=False,
        train_texts=train_texts(task),
    )
    inputs = inputs_of(task, source, method="snip", precision="fp32")
    spec = StudySpec(
        name=NAME,
        task=task.name,
        task_fingerprint=task.fingerprint,
        metric_name=task.metric,
        validation_rows=len(inputs.data.validation),
        model=BUILTIN,
        model_fingerprint=source.fingerprint,
        method="snip",
        space_toml="",
        sampler="tpe",
        seed=0,
        precision="fp32",
        anchors=Anchors(0.0, 0.9, 1e-3, 1.0, 1_000_000, 800_000, 10_000_000, 4.0),
    )
    write_source(source, store.origin(NAME).model())
    store.task(NAME).write(refer(str(task_file)))
    store.write_spec(spec)
    attempt = store.attempts(NAME, 0).begin()
    record = run_trial(inputs, TrialJob(0, PARAMS, 5, (attempt,)), lambda _: None)
    store.weights(NAME).take(0, [attempt])
    store.write_record(NAME, record)
    tracker = open_tracking(None, store_root=store.root)
    tracker.start_study(spec, provenance=provenance())
    tracker.publish(record)
    tracker.finish_study("complete")
    return Study(store.root, task_file)


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    """A copy that a test may harm, without MLflow: that keeps whole paths."""
    shutil.copytree(made.store / "studies", tmp_path / "store" / "studies")
    shutil.copytree(made.task_file.parent, tmp_path / "task")
    store = Store(tmp_path / "store")
    store.task(NAME).write(refer(str(tmp_path / "task" / made.task_file.name)))
    return Study(store.root, tmp_path / "task" / made.task_file.name)
