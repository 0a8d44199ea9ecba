"""A real study of one trial, made in this process, as a search leaves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.model.resolve import resolve_model
from pipeline.model.source import write_source
from pipeline.study.records import Anchors, Ask, Params, StudySpec, TrialRecord, refer
from pipeline.study.store import Store
from pipeline.task.loading import load_task, train_texts
from pipeline.trial.inputs import head_of, inputs_of
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.kit.toy import write_model, write_task
from tests.kit.trials import SNIP

NAME, SEED = "toy", 5
TWO_ROUNDS = SNIP | {"rounds": 2, "batch_size": 32, "threshold": 0.9, "recover_epochs": 0.5}
ANCHORS = Anchors(0.0, 0.9, 1e-3, 1.0, 1_000_000, 800_000, 10_000_000, 4.0)


@dataclass(frozen=True)
class Made:
    store: Store
    spec: StudySpec
    record: TrialRecord
    task_file: Path


@dataclass(frozen=True)
class Study:
    """A study as a person has it: the folder of its store, and the task's file."""

    store: Path
    task_file: Path


def make_study(
    folder: Path,
    params: Params = TWO_ROUNDS,
    *,
    method: str = "snip",
    task_name: str | None = None,
    model: str | None = None,
    precision: str = "fp32",
    seed: int = SEED,
) -> Made:
    """Trains the trial on 160 rows, or a task's; its record and the weights of its networks are in the store."""
    task_file = Path(task_name) if task_name else write_task(folder / "task", rows=160)
    store = Store(folder / "store")
    task = load_task(str(task_file), cache=store.cache)
    model = model or str(write_model(folder / "model"))
    source = resolve_model(model, head=head_of(task.kind), train_texts=train_texts(task))
    inputs = inputs_of(task, source, method=method, precision=precision)
    validation = inputs.data.validation
    spec = StudySpec(
        name=NAME,
        task=task.name,
        task_fingerprint=task.fingerprint,
        metric_name=task.metric,
        validation_rows=len(validation),
        model=model,
        model_fingerprint=source.fingerprint,
        method=method,
        space_toml="",
        sampler="tpe",
        seed=0,
        precision=precision,
        anchors=replace(ANCHORS, constant=min(ANCHORS.constant, inputs.kind.constant(validation))),
    )
    write_source(source, store.study(NAME).origin.model())
    store.study(NAME).task.write(refer(str(task_file)))
    store.study(NAME).write_validation(ids=validation.ids, labels=validation.labels)
    store.write_spec(spec)
    attempt = store.study(NAME).attempts(0).begin()
    record = run_trial(inputs, TrialJob(Ask(0, params, seed), (attempt,)), lambda _: None)
    store.study(NAME).weights.take(0, [attempt])
    store.study(NAME).write_record(record)
    return Made(store, spec, record, task_file)
