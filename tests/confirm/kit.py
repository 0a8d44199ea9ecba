"""A real study of one trial of two rounds, made in this process."""

from __future__ import annotations

from pathlib import Path

from pipeline.course import TrialJob
from pipeline.models import write_source
from pipeline.records import Anchors, Params, StudySpec
from pipeline.reopening import Reopened, inputs_of, refer, reopen
from pipeline.resolve import BUILTIN, resolve_model
from pipeline.store import Store
from pipeline.task import load_task, train_texts
from pipeline.trial import run_trial
from tests.test_networks import TWO_ROUNDS
from tests.toy import write_task

NAME, SEED = "toy", 5


def make_study(folder: Path, params: Params = TWO_ROUNDS, *, method: str = "snip") -> Reopened:
    """A store with a study of one finished trial, opened again."""
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
    inputs = inputs_of(task, source, method=method, precision="fp32")
    spec = StudySpec(
        name=NAME,
        task=task.name,
        task_fingerprint=task.fingerprint,
        metric_name=task.metric,
        validation_rows=len(inputs.data.validation),
        model=BUILTIN,
        model_fingerprint=source.fingerprint,
        method=method,
        space_toml="",
        sampler="tpe",
        seed=0,
        precision="fp32",
        anchors=Anchors(0.0, 1.0, 1e-3, 1.0, 1, 1, 1, 1.0),
    )
    write_source(source, store.origin(NAME).model())
    store.task(NAME).write(refer(str(task_file)))
    labels = inputs.data.validation.labels
    store.write_validation(NAME, ids=inputs.data.validation.ids, labels=labels)
    store.write_spec(spec)
    attempt = store.attempts(NAME, 0).begin()
    store.write_record(NAME, run_trial(inputs, TrialJob(0, params, SEED, (attempt,)), lambda _: None))
    return reopen(store, NAME)
