"""The inputs of a trial: what all trials of a study share, and its own number, parameters and folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.methods.registry import ranks_weights
from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.device import AUTO
from pipeline.model.head import output_names
from pipeline.model.heads import Head
from pipeline.model.source import ModelSource, Weights, preprocessor, read_weights
from pipeline.study.choices import COMPILE_OFF
from pipeline.study.store import LatencyTable, StudyStore
from pipeline.task.batches import Split, TaskData
from pipeline.task.kinds import Kind
from pipeline.task.loading import Task, tokenise
from pipeline.trial.answers import answered
from pipeline.trial.distillation import NONE, Teacher, read_teacher
from pipeline.trial.measure import Evaluation, evaluate, kept_outputs
from pipeline.trial.reconstruction import Reconstruction
from pipeline.trial.training.precision import resolve_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Called after every epoch, and between two of them, with how far a trial is: `epoch`, `epochs`, losses, the metric.
OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a study share, through Ray's object store: a trial reads nothing else."""

    method: str
    kind: Kind
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
    compile: str = COMPILE_OFF  # or auto: the first tuning is compiled if that pays
    device: str = AUTO  # what trials run on, as `device_of` reads it
    cards: int = 1  # of a trial: processes that share out its batches, each with a GPU

    @property
    def zeroes(self) -> bool:
        """Whether single weights are set to zero, and nothing is cut; the objective is then sparsity."""
        return ranks_weights(self.method)

    @property
    def metric_name(self) -> str:
        """The name of the task's metric."""
        return self.kind.metric

    @property
    def classes(self) -> int:
        """The task's number of classes; 0 if it has none."""
        return self.kind.classes

    def reconstruction(self, model: PreTrainedModel, anatomy: Anatomy) -> Reconstruction:
        """Read from a network, on the calibration rows, what networks that are cut from it are refitted to."""
        return Reconstruction.of(model, anatomy, self.data.calibration)

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
        how = resolve_precision(self.precision, device) if precision is None else precision
        kind = self.fitted_kind(model, precision=how)
        return evaluate(model, self.data.validation if rows is None else rows, kind, precision=how)

    def fitted_kind(self, model: PreTrainedModel, *, precision: str) -> Kind:
        """Return the kind with what it fits to a network, if anything: a threshold, on calibration rows."""
        if not self.kind.fits:
            return self.kind
        rows = self.data.calibration
        return self.kind.fitted(kept_outputs(model, rows, self.kind, precision=precision), rows)


def inputs_of(
    task: Task,
    source: ModelSource,
    *,
    method: str,
    precision: str,
    distill: str = NONE,
    compile: str = COMPILE_OFF,
    checkpointing: bool = False,
    device: str = AUTO,
    fitted: Weights | None = None,
    cache: Path | None = None,
    answers: Path | None = None,
) -> TrialInputs:
    """Return what is known before a study begins: model, tokenised rows, options. Test rows are not among them.

    `answers` is the file of what the study's dense network predicted for rows without labels, if it has begun.
    """
    data = tokenise(task, preprocessor(source), cache=cache)
    kind = task.kind.of_model(
        tuple(output_names(source.config)),
        source.config,
        head_bias=not find_architecture(source.config["model_type"]).causal,  # decoders' heads have none
    )
    inputs = TrialInputs(
        method=method,
        kind=kind,
        precision=precision,
        length=int(data.validation.lengths.max()),
        source=source,
        data=data,
        distill=distill,
        fitted=fitted,
        checkpointing=checkpointing,
        compile=compile,
        device=device,
    )
    if kind.unlabelled:
        found = answered(data, source, kind, inputs.precision, device=inputs.device, kept=answers)
        return replace(inputs, data=found)
    return inputs


def head_of(kind: Kind) -> Head:
    """Return the head that a kind of task needs on the encoder."""
    return Head(kind.output_names, kind.network, kind.problem_type, scale=kind.output_scale)


def inputs_of_study(
    inputs: TrialInputs, study: StudyStore, *, latency: LatencyTable | None = None
) -> TrialInputs:
    """Return the inputs whole, with all that the study's folder keeps for its trials.

    Args:
        inputs: of `inputs_of`, for the study's task, model and options.
        study: its files.
        latency: the table that trials read their latency from.

    Raises:
        BadInput: the trials learn from a teacher, and its file is gone, damaged, or of other rows.
    """
    origin, rows = study.origin, len(inputs.data.train)
    dense, fitted = origin.dense(), origin.fitted()
    return replace(
        inputs,
        dense=read_weights(dense) if dense.exists() else None,
        fitted=read_weights(fitted) if fitted.exists() else None,
        teacher=None if inputs.distill == NONE else read_teacher(origin.teacher(), rows=rows),
        latency=latency,
    )
