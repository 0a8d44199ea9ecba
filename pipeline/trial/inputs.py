"""What a trial is given: what all of a study's share, and its own number, parameters and folders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.methods.registry import ranks_weights
from pipeline.model.source import ModelSource, Weights, read_weights, tokenizer
from pipeline.study.records import Params
from pipeline.study.store import LatencyTable, Store
from pipeline.task.batches import Split, TaskData
from pipeline.task.loading import Task, tokenise
from pipeline.trial.distillation import NONE, Teacher, read_teacher
from pipeline.trial.measure import Evaluation, evaluate
from pipeline.trial.training.compilation import OFF
from pipeline.trial.training.precision import resolve_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Called after every epoch, and between two of them, with how far a trial is: `epoch`, `epochs`, losses, the metric.
OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a study share, through Ray's object store: nothing else is read from anywhere."""

    method: str
    metric_name: str
    regression: bool
    precision: str  # one of PRECISIONS
    length: int  # tokens of a row for MACs: the longest of validation
    source: ModelSource
    data: TaskData
    dense: Weights | None = None  # of the study's dense network, where a trial may need them
    latency: LatencyTable | None = None
    distill: str = NONE  # or a key of DISTILLATIONS: what is learned beside the labels
    teacher: Teacher | None = None  # what it is learned from
    fitted: Weights | None = None  # to the base model, for a method that needs it
    checkpointing: bool = False  # of activations; no result depends on it
    compile: str = OFF  # or auto: the first tuning is compiled if that pays

    @property
    def zeroes(self) -> bool:
        """Whether single weights are set to zero, and nothing is cut: the objective is sparsity."""
        return ranks_weights(self.method)

    def evaluate(
        self, model: PreTrainedModel, rows: Split | None = None, *, precision: str | None = None
    ) -> Evaluation:
        """Evaluate a network by the task's metric, on its own device.

        Args:
            model: of this study.
            rows: what to predict; None for all of validation.
            precision: None for the study's, as this device has it.
        """
        device = next(model.parameters()).device
        return evaluate(
            model,
            self.data.validation if rows is None else rows,
            metric_name=self.metric_name,
            regression=self.regression,
            precision=resolve_precision(self.precision, device) if precision is None else precision,
        )


@dataclass(frozen=True)
class TrialJob:
    """One trial to run: the last of `attempts` is its own folder, the others are read for a checkpoint."""

    number: int
    params: Params
    seed: int
    attempts: tuple[Path, ...]
    checkpoint_s: float = 60.0  # seconds between checkpoints
    keep_weights: bool = True  # those before each cut and the recovered ones, in the attempt's folder
    rungs: tuple[float, ...] = ()  # parts of its training after which it shows what it would give
    beat_s: float = math.inf  # seconds after which it tells where it is, between the ends of its epochs


def inputs_of(
    task: Task, source: ModelSource, *, method: str, precision: str, cache: Path | None = None
) -> TrialInputs:
    """Model and tokenised rows: what all trials share. Test rows are not among them."""
    data = tokenise(task, tokenizer(source), cache=cache)
    return TrialInputs(
        method=method,
        metric_name=task.metric,
        regression=task.regression,
        precision=precision,
        length=int(data.validation.lengths.max()),
        source=source,
        data=data,
    )


def with_dense(inputs: TrialInputs, store: Store, study: str) -> TrialInputs:
    """The inputs with the weights of the study's dense network, if the study keeps them."""
    path = store.study(study).origin.dense()
    return replace(inputs, dense=read_weights(path)) if path.exists() else inputs


def with_teacher(inputs: TrialInputs, store: Store, study: str) -> TrialInputs:
    """The inputs with what the study's dense network said of the training rows.

    Raises:
        BadInput: that is gone, damaged, or about other rows.
    """
    rows = len(inputs.data.train)
    return replace(inputs, teacher=read_teacher(store.study(study).origin.teacher(), rows=rows))
