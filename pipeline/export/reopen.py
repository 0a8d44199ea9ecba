"""Open a study of the store again: its task's rows and its model, as its trials had them.

For what comes after a search: an export, a confirmation, a network that is trained again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pipeline.model.source import preprocessor, read_source
from pipeline.study.records import BadInput, StudySpec, TaskReference, refer
from pipeline.study.store import Store
from pipeline.task.batches import Split
from pipeline.task.loading import OpenedTest, Task, load_task, read_test, tokenise_test
from pipeline.trial.answers import answered_rows
from pipeline.trial.inputs import TrialInputs, inputs_of, inputs_of_study


@dataclass(frozen=True)
class Reopened:
    """A study with what its trials were given."""

    store: Store
    spec: StudySpec
    task: Task
    inputs: TrialInputs

    def test(self) -> Split:
        """Return the rows of the official dev split that the task's metric is reported on. Not for a search.

        Raises:
            BadInput: none of them has a label.
        """
        if "test" not in self.tests:
            raise BadInput(
                f"No test row of {self.task.name} has a label, and networks are confirmed on rows "
                "that have one. Give the task with labelled test rows by --task."
            )
        return self.tests["test"]

    @cached_property
    def tests(self) -> dict[str, Split]:
        """All parts of the official dev split by name: `test`; MNLI has `test_mismatched`, too."""
        parts = tokenise_test(self.task, preprocessor(self.inputs.source), rows=self.opened_test.parts)
        if not self.task.kind.unlabelled:
            return parts
        inputs = self.inputs
        answers = answered_rows(
            inputs.source, inputs.kind, inputs.precision, *parts.values(), device=inputs.device
        )
        return dict(zip(parts, answers, strict=True))

    @cached_property
    def opened_test(self) -> OpenedTest:
        """The official dev split as text, with remarks on how it was read."""
        return read_test(self.task)


def reopen(store: Store, study: str, *, task: str | None = None) -> Reopened:
    """Read a study's task and model again.

    Args:
        store: that holds the study.
        study: its name.
        task: where the task is now: a name, or a task file that has moved.

    Raises:
        BadInput: no such study; its task cannot be read, or has other rows than the study was made with.
    """
    spec = store.study(study).read_spec()
    where = _reference(store, study, task)
    found = load_task(
        where.task,
        cache=store.cache,
        text=where.text,
        label=where.label,
        metric=where.metric,
        drop_empty=where.drop_empty,
        max_length=where.max_length,
        kind=where.kind,
    )
    if found.fingerprint != spec.task_fingerprint:
        raise BadInput(
            f"{where.task} has other rows now (sha256 {found.fingerprint[:12]}…, study {study!r} has "
            f"{spec.task_fingerprint[:12]}…). A study's networks belong to the rows that they were "
            "trained and measured on. Give the task as it was by --task."
        )
    inputs = inputs_of(
        found,
        read_source(store.study(study).origin.model()),
        method=spec.method,
        precision=spec.precision,
        distill=spec.distill,
        compile=spec.compile,
        cache=store.cache,
        answers=store.study(study).origin.answers(),
    )
    table = store.study(study).latency.read().table if spec.objective == "latency" else None
    return Reopened(store, spec, found, inputs_of_study(inputs, store.study(study), latency=table))


def _reference(store: Store, study: str, task: str | None) -> TaskReference:
    known = store.study(study).task.read()
    if task is not None:
        moved = refer(task)
        return moved if known is None else replace(known, task=moved.task)
    if known is None:
        raise BadInput(
            f"Study {study!r} was made by an older prunefront, which did not note where its task "
            "lies. A study is opened again with its task. Name it by --task."
        )
    if known.task.endswith(".toml") and not Path(known.task).exists():
        raise BadInput(
            f"The task file {known.task} of study {study!r} is not there any more. A study is opened "
            "again with its task. Give its new place by --task."
        )
    return known
