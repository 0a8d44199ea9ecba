"""What a study needs before its first trial: rows and model, its spec, its anchors, its folder."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.driver.execute import Cluster, Peak, run_each
from pipeline.driver.search.latency import shapes_of
from pipeline.driver.search.request import SEARCHED, SPARSITY, Search
from pipeline.driver.search.watcher import Watcher
from pipeline.driver.warm_start import StudyKind, warm_starts
from pipeline.methods.registry import METHODS, ranks_weights
from pipeline.methods.smp import check_fitted, find_fitted
from pipeline.model.resolve import BUILTIN, resolve_model
from pipeline.model.source import ModelSource, Weights, read_weights, write_source
from pipeline.study.records import Anchors, BadInput, StudySpec, TaskReference
from pipeline.study.space import Space, load_space
from pipeline.study.store import Shape, Store, sent
from pipeline.task.loading import Task, train_texts
from pipeline.trial.anchors import (
    RATE_FACTORS,
    Banks,
    DenseRecipe,
    anchors_of,
    dense_folder,
    read_dense,
    teach,
    train_dense,
    weights_file,
    write_dense,
)
from pipeline.trial.distillation import DISTILLATIONS, NONE, write_arrays, write_teacher
from pipeline.trial.inputs import TrialInputs, inputs_of, with_teacher


def make_inputs(wanted: Search, task: Task) -> TrialInputs:
    """Model and tokenised rows: what all trials share. Test rows are not among them."""
    source = resolve_model(
        wanted.model,
        outputs=task.outputs,
        class_names=task.class_names,
        regression=task.regression,
        train_texts=train_texts(task) if wanted.model == BUILTIN else [],
        trust_remote_code=wanted.trust_remote_code,
    )
    if task.max_length > source.max_length:
        raise BadInput(
            f"A row is at most as long as the model's positions reach; max_length is {task.max_length} tokens, and "
            f"{wanted.model} reaches {source.max_length}. Give a smaller max_length."
        )
    cache = Store(wanted.store).cache
    fitted = _fitted(wanted, task, source)
    inputs = inputs_of(task, source, method=wanted.method, precision=wanted.precision, cache=cache)
    return replace(
        inputs,
        distill=wanted.distill,
        fitted=fitted,
        checkpointing=wanted.activation_checkpointing,
        compile=wanted.compile,
    )


def check_method(wanted: Search, store: Store) -> None:
    """Refuses a method that needs a fit which the store does not have, before anything of the task is read.

    Raises:
        BadInput: says how to fit it.
    """
    begun = wanted.name is not None and store.study(wanted.name).exists()
    if METHODS[wanted.method].needs_fit and not begun:
        check_fitted(store, wanted.model, wanted.task, trust_remote_code=wanted.trust_remote_code)


def _fitted(wanted: Search, task: Task, source: ModelSource) -> Weights | None:
    """What was fitted to the model: of a study that has begun, as it was then."""
    if not METHODS[wanted.method].needs_fit:
        return None
    store = Store(wanted.store)
    own = store.study(wanted.name or default_name(wanted, task)).origin.fitted()
    if own.exists():
        return read_weights(own)
    return find_fitted(store, source, pair="text_b" in task.train.column_names)


def make_spec(
    wanted: Search, task: Task, inputs: TrialInputs, space: Space, anchors: Anchors, *, starts: str = ""
) -> StudySpec:
    """What is frozen at trial 0; `starts` as `StudySpec` has them."""
    shapes = timed_shapes(wanted, inputs)
    return StudySpec(
        name=wanted.name or default_name(wanted, task),
        task=task.name,
        task_fingerprint=task.fingerprint,
        metric_name=task.metric,
        validation_rows=len(inputs.data.validation),
        model=model_name(wanted.model),
        model_fingerprint=inputs.source.fingerprint,
        method=wanted.method,
        space_toml=space.toml,
        sampler=wanted.sampler,
        seed=wanted.seed,
        precision=wanted.precision,
        anchors=anchors,
        objective=objective_of(wanted),
        distill=wanted.distill,
        starts=starts,
        compile=wanted.compile,
        latency_at=str(shapes[0]) if wanted.objective == "latency" else "",
    )


def find_starts(wanted: Search, store: Store, space: Space) -> str:
    """The first trials' parameters that earlier studies give, as `StudySpec.starts`; of a new study.

    Raises:
        BadInput: no such study, or it gives none.
    """
    if wanted.warm_start is None or (wanted.name is not None and store.study(wanted.name).exists()):
        return ""
    kin = StudyKind(wanted.method, wanted.distill, objective_of(wanted))
    return json.dumps(warm_starts(store, wanted.warm_start, kin=kin, space=space))


def timed_shapes(wanted: Search, inputs: TrialInputs) -> tuple[Shape, ...]:
    """What is timed: the first shape is the study's own.

    Raises:
        BadInput: a row is longer than the model's positions reach.
    """
    return shapes_of(wanted.latency_grid, length=inputs.length, max_length=inputs.source.max_length)


def model_name(model: str) -> str:
    """A hub name as it is; of a folder the last two parts of its path."""
    folder = Path(model).expanduser()
    return "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else model


def objective_of(wanted: Search) -> str:
    """What is searched beside the metric.

    Raises:
        BadInput: there is no such objective, or the method's networks cannot differ in it.
    """
    zeroes = ranks_weights(wanted.method)
    if wanted.objective not in (None, SPARSITY, *SEARCHED):
        raise BadInput(
            f"A search looks for a metric against one of {', '.join(SEARCHED)}, or, of single weights, {SPARSITY}; "
            f"--objective is {wanted.objective!r}."
        )
    if zeroes and wanted.objective in SEARCHED:
        raise BadInput(
            f"Networks in which single weights are zero differ in {SPARSITY} alone, none is smaller or faster; "
            f"{wanted.method} is such a method, --objective is {wanted.objective!r}. Leave it out, or take a method "
            "that cuts."
        )
    if not zeroes and wanted.objective == SPARSITY:
        raise BadInput(
            f"Networks that are cut have no zeros; {wanted.method} cuts, --objective is {SPARSITY!r}. Leave it out, or "
            "take a method on single weights."
        )
    return wanted.objective or (SPARSITY if zeroes else "compression")


def default_name(wanted: Search, task: Task) -> str:
    """task-model-method, then what else is not as usual (distillation, objective, seed); in a folder's characters."""
    folder = Path(wanted.model).expanduser().is_dir()  # often called "model": the one above it says more
    parts = [task.name.split("/")[-1], model_name(wanted.model).split("/")[0 if folder else -1]]
    parts += [wanted.method] + ([wanted.distill] if wanted.distill != NONE else [])
    parts += [wanted.objective] if wanted.objective in ("macs", "latency") else []
    parts += [f"seed{wanted.seed}"] if wanted.seed else []
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))


def dense_recipe(method: str, *, pretrained: bool) -> DenseRecipe:
    """How the dense networks of a method's studies are trained: as long as a trial of default settings."""
    packaged = load_space(method, file=None, pretrained=pretrained).defaults()
    rate = float(packaged["learning_rate"])
    return DenseRecipe(
        learning_rates=tuple(rate * factor for factor in RATE_FACTORS),
        epochs=float(packaged["tune_epochs"]) + float(packaged["recover_epochs"]),
        batch_size=int(packaged["batch_size"]),
        warmup_fraction=float(packaged["warmup_fraction"]),
        weight_decay=float(packaged["weight_decay"]),
    )


def find_anchors(
    cluster: Cluster, store: Store, task: Task, inputs: TrialInputs, watcher: Watcher, *, method: str
) -> tuple[Anchors, Path]:
    """Both anchors, and the file of the dense network, which is trained if the store does not hold it yet."""
    recipe = dense_recipe(method, pretrained=inputs.source.pretrained)
    folder = _dense_folder(store, task, inputs, recipe)
    dense = read_dense(folder)
    if dense is None:
        rates = recipe.learning_rates
        watcher.stage(f"training the dense network at {len(rates)} learning rates")
        runs = run_each(cluster, partial(train_dense, recipe=recipe), inputs, rates, done=watcher.dense)
        whole = [run for run in runs if run is not None]
        if not whole:
            raise BadInput(
                f"A study is read against its dense network; plain fine-tuning diverged at the learning rates "
                f"{', '.join(f'{r:g}' for r in rates)}. Is the task's label right, and the model a trained one?"
            )
        dense = write_dense(folder, whole, recipe)
    return anchors_of(dense, inputs), weights_file(folder)


def _dense_folder(store: Store, task: Task, inputs: TrialInputs, recipe: DenseRecipe) -> Path:
    return dense_folder(
        store.cache,
        task_fingerprint=task.fingerprint,
        model_fingerprint=inputs.source.fingerprint,
        recipe=recipe,
    )


def find_peak(store: Store, task: Task, inputs: TrialInputs, *, method: str) -> Peak | None:
    """What the dense network's training needed; None if it is not there, or older than that was noted."""
    recipe = dense_recipe(method, pretrained=inputs.source.pretrained)
    known = read_dense(_dense_folder(store, task, inputs, recipe))
    if known is None or "peak_mb" not in known:
        return None
    return Peak(known["peak_mb"], known["gpu_peak_mb"], known["gpu_total_mb"])


def find_teacher(
    cluster: Cluster, store: Store, spec: StudySpec, inputs: TrialInputs, space: Space, watcher: Watcher
) -> TrialInputs:
    """The inputs with what the dense network says of the training rows, where trials learn from it.

    It is asked once per study: what it said is kept in the study's folder.

    Raises:
        BadInput: what it said is damaged, or it is to be asked and its weights are gone.
    """
    if spec.distill == NONE:
        return inputs
    origin = store.study(spec.name).origin
    path = origin.teacher()
    if not path.exists():
        if inputs.dense is None:
            raise BadInput(
                f"A study that distils learns from its dense network; {origin.dense()} is gone, and so is "
                "what it said. Put it back, or begin another study by --name."
            )
        watcher.stage("asking the dense network about the training rows")
        looks = DISTILLATIONS[spec.distill].features
        banks = Banks(
            finetuned=looks and space.may_have("cap_finetuned", True),
            pretrained=looks and space.may_have("cap_pretrained", True),
        )
        (teacher,) = run_each(cluster, teach, inputs, [banks], done=_heard)
        write_teacher(path, teacher)
        sent(path)
    return with_teacher(inputs, store, spec.name)


def _heard() -> None:
    """One task has no progress to tell."""


def open_study(
    store: Store, spec: StudySpec, inputs: TrialInputs, task: TaskReference, *, dense: Path | None
) -> None:
    """Makes the study's folder, whole before its first trial: model, labels, dense weights if any, spec last.

    Where the task lies is written at every start: files may have moved.
    """
    study = store.study(spec.name)
    study.task.write(task)
    if study.exists():
        return
    model = study.folder / "model"
    write_source(inputs.source, model)
    sent(model)
    validation = inputs.data.validation
    study.write_validation(ids=validation.ids, labels=validation.labels)
    origin = study.origin
    if dense is not None:
        path = origin.dense()
        shutil.copyfile(dense, path)
        sent(path)
    if inputs.fitted is not None:
        path = origin.fitted()
        write_arrays(path, inputs.fitted)
        sent(path)
    store.write_spec(spec)
