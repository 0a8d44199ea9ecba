"""The spec that a study is frozen to, and the folder that keeps it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.driver.search.names import model_name
from pipeline.driver.search.resolved import ResolvedSearch
from pipeline.model.source import write_source
from pipeline.study.ledger import shown
from pipeline.study.records import Anchors, StudySpec, refer
from pipeline.study.store import Asked, LedgerPlace, send
from pipeline.study.whole_file import whole_file
from pipeline.trial.answers import answers_of
from pipeline.trial.distillation import NONE, write_arrays


def make_spec(resolved: ResolvedSearch, anchors: Anchors) -> StudySpec:
    """Return what a study is frozen to at trial 0."""
    request, task, inputs = resolved.request, resolved.task, resolved.inputs
    return StudySpec(
        name=resolved.name,
        task=task.name,
        task_fingerprint=task.fingerprint,
        metric_name=task.metric,
        validation_rows=len(inputs.kind.ids(inputs.data.validation)),
        model=model_name(request.model),
        model_fingerprint=inputs.source.fingerprint,
        method=request.method,
        space_toml=resolved.space.toml,
        sampler=request.sampler,
        seed=request.seed,
        precision=request.precision,
        anchors=anchors,
        objective=resolved.objective,
        distill=request.distill,
        starts=resolved.starts,
        compile=request.compile,
        own=resolved.own,
        latency_at=str(resolved.shapes[0]) if resolved.objective == "latency" else "",
    )


def open_study(
    resolved: ResolvedSearch, spec: StudySpec, *, dense: Path | None, may_write: Callable[[], None]
) -> None:
    """Make the study's folder, whole before its first trial: model, labels, what trials need, the spec last.

    The spec is left out while its dense network is not trained: until it is there, no reader lists the study.

    Where the task lies is written at every start: files may have moved.

    Args:
        resolved: the search.
        spec: what its study is frozen to.
        dense: file of the dense network's weights; None for a study that has begun.
        may_write: called before what another search of the name would write otherwise.

    Raises:
        LeaseLost: another driver has taken over.
    """
    study, request = resolved.study, resolved.request
    task = refer(
        request.task,
        text=request.text,
        label=request.label,
        metric=request.metric,
        drop_empty=request.drop_empty,
        max_length=request.max_length,
        kind=request.kind,
    )
    may_write()
    study.task.write(task)
    study.data.write(resolved.data)
    study.ledger.write(LedgerPlace(shown(resolved.ledger_url)))
    study.asked.write(Asked(request.trials))
    if study.exists():
        return
    may_write()
    model = study.folder / "model"
    write_source(resolved.inputs.source, model)
    send(model)
    validation = resolved.inputs.data.validation
    kind = resolved.inputs.kind
    may_write()
    study.write_validation(ids=kind.ids(validation), labels=kind.labels(validation))
    origin = study.origin
    needs_dense = resolved.space.may_have("start_dense", True) or spec.distill != NONE
    if dense is not None and needs_dense:
        may_write()
        path = origin.dense()
        with whole_file(path) as part:
            shutil.copyfile(dense, part)
        send(path)
    if kind.unlabelled:
        may_write()
        path = origin.answers()
        write_arrays(path, answers_of(resolved.inputs.data))
        send(path)
    if resolved.inputs.fitted is not None:
        may_write()
        path = origin.fitted()
        write_arrays(path, resolved.inputs.fitted)
        send(path)
    if spec.anchors.known:
        may_write()
        study.write_spec(spec)
