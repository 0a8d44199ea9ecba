"""The dense network of a study: its training, the anchors it gives, what trials learn from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.driver.execute import Cluster, Peak, run_each
from pipeline.driver.search.own import check_learned
from pipeline.driver.search.resolved import ResolvedSearch
from pipeline.driver.search.watcher import Watcher
from pipeline.model.device import CUDA
from pipeline.model.source import ModelSource, read_weights
from pipeline.study.records import Anchors, BadInput
from pipeline.study.space import load_space
from pipeline.study.store import Store, send
from pipeline.task.loading import Task
from pipeline.trial.anchors import (
    AS_IT_CAME,
    RATE_FACTORS,
    Banks,
    DenseRecipe,
    DenseRun,
    anchors_of,
    dense_folder,
    read_dense,
    teach,
    train_dense,
    train_dense_together,
    weights_file,
    write_dense,
)
from pipeline.trial.distillation import DISTILLATIONS, NONE, write_teacher
from pipeline.trial.inputs import TrialInputs


def dense_recipe(method: str, source: ModelSource) -> DenseRecipe:
    """Return how the dense networks of a method's studies are trained: as long as a trial of default settings."""
    family = str(source.config["model_type"])
    packaged = load_space(method, file=None, pretrained=source.pretrained, family=family).defaults()
    rate = float(packaged["learning_rate"])
    return DenseRecipe(
        learning_rates=tuple(rate * factor for factor in RATE_FACTORS),
        epochs=float(packaged["tune_epochs"]) + float(packaged["recover_epochs"]),
        batch_size=int(packaged["batch_size"]),
        warmup_fraction=float(packaged["warmup_fraction"]),
        weight_decay=float(packaged["weight_decay"]),
    )


def find_anchors(resolved: ResolvedSearch, cluster: Cluster, watcher: Watcher) -> tuple[Anchors, Path]:
    """Return both anchors and the file of the dense network; train it if the store does not hold it yet.

    Raises:
        BadInput: training diverged at every learning rate.
    """
    training = DenseTraining(resolved)
    if not training.done:
        recipe = training.recipe
        watcher.stage(
            f"training the dense network at {len(recipe.learning_rates)} learning rates"
            if recipe.epochs
            else "measuring the dense network, which is the model as it came"
        )
        done = watcher.dense if recipe.epochs else lambda: None
        rates, inputs = recipe.learning_rates, resolved.inputs
        if cluster.device == CUDA:  # in one process, one after the other or as one stack
            together = partial(train_dense_together, recipe=recipe)
            (runs,) = run_each(cluster, together, inputs, [rates], done=lambda: _all(done, len(rates)))
        else:
            runs = run_each(cluster, partial(train_dense, recipe=recipe), inputs, rates, done=done)
        training.write(runs)
    return training.anchors(), weights_file(training.folder)


class DenseTraining:
    """The dense network of a search: how it is trained, and where it is kept."""

    def __init__(self, resolved: ResolvedSearch) -> None:
        self._resolved, inputs = resolved, resolved.inputs
        self.recipe = AS_IT_CAME if resolved.own else dense_recipe(inputs.method, inputs.source)
        self.folder = _dense_folder(resolved.store, resolved.task, inputs, self.recipe)

    @property
    def done(self) -> bool:
        """Whether the store holds it."""
        return read_dense(self.folder) is not None

    def write(self, runs: Sequence[DenseRun | None]) -> None:
        """Write the best of the runs at all learning rates; one whose metric is no number has diverged, too.

        Raises:
            BadInput: all of them diverged.
        """
        trained = self.recipe.epochs > 0  # what came as it is, is refused by its metric (`anchors`)
        whole = [run for run in runs if run is not None and (math.isfinite(run.metric) or not trained)]
        if not whole:
            rates = ", ".join(f"{rate:g}" for rate in self.recipe.learning_rates)
            raise BadInput(
                f"Plain fine-tuning diverged at the learning rates {rates}: the study has no dense network to compare "
                "with. Is the task's label right, and the model a trained one?"
            )
        write_dense(self.folder, whole, self.recipe)

    def anchors(self) -> Anchors:
        """Return both anchors of the study.

        Raises:
            BadInput: the model is used as it came, and has learned nothing.
        """
        inputs, dense = self._resolved.inputs, read_dense(self.folder)
        if dense is None:
            raise RuntimeError(f"The dense network is written before it is read; {self.folder} has none.")
        anchors = anchors_of(dense, inputs)
        if self._resolved.own:
            check_learned(anchors.dense, anchors.constant, inputs.source, metric_name=inputs.metric_name)
        return anchors


def _all(done: Callable[[], None], count: int) -> None:
    for _ in range(count):
        done()


def _dense_folder(store: Store, task: Task, inputs: TrialInputs, recipe: DenseRecipe) -> Path:
    return dense_folder(
        store.cache,
        task_fingerprint=task.fingerprint,
        model_fingerprint=inputs.source.fingerprint,
        recipe=recipe,
    )


def find_peak(store: Store, task: Task, inputs: TrialInputs) -> Peak | None:
    """Return the memory that training the dense network needed; None if that is not known."""
    recipe = dense_recipe(inputs.method, inputs.source)
    known = read_dense(_dense_folder(store, task, inputs, recipe))
    if known is None or "peak_mb" not in known:
        return None
    return Peak(known["peak_mb"], known["gpu_peak_mb"], known["gpu_total_mb"])


def write_teacher_of(
    resolved: ResolvedSearch, cluster: Cluster, watcher: Watcher, *, may_write: Callable[[], None]
) -> None:
    """Write the dense network's outputs for the training rows, once per study, if its trials learn from them.

    `may_write` is called before that; it raises LeaseLost if another driver has taken over.

    Raises:
        BadInput: they are not written yet, and the network's weights are gone.
    """
    inputs, space = resolved.inputs, resolved.space
    origin = resolved.study.origin
    if inputs.distill == NONE or origin.teacher().exists():
        return
    dense = origin.dense()
    if not dense.exists():
        raise BadInput(
            f"{dense} is gone, and so are its outputs, which this study's trials learn from. Put it "
            "back, or begin another study by --name."
        )
    watcher.stage("running the dense network on the training rows")
    distillation = DISTILLATIONS[inputs.distill]
    banks = Banks(
        finetuned=distillation.features and space.may_have("cap_finetuned", True),
        pretrained=distillation.features and space.may_have("cap_pretrained", True),
        layers=distillation.states,
    )
    with_dense = replace(inputs, dense=read_weights(dense))
    (teacher,) = run_each(cluster, teach, with_dense, [banks], done=lambda: None)
    may_write()
    write_teacher(origin.teacher(), teacher)
    send(origin.teacher())
