"""A network with the tokens alone that a task's rows need, or a text."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.export.network import Network
from pipeline.export.reopen import Reopened
from pipeline.fronts.front import FrontPoint
from pipeline.model.heads import LANGUAGE_MODEL
from pipeline.model.source import tokenizer
from pipeline.model.trim import Vocabulary, trim_network, trim_source
from pipeline.study.records import BadInput
from pipeline.task.batches import Split, TaskData, encoder_inputs
from pipeline.task.encodings import text_of
from pipeline.task.kinds import Kind
from pipeline.task.loading import tokenise, train_texts
from pipeline.task.tokens import share_of
from pipeline.trial.measure import BYTES_PER_PARAMETER, MEGABYTE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHECKED_ROWS = 16  # of validation, that have no removed token
TOLERANCE = 1e-5  # of logits, fp32


@dataclass(frozen=True)
class Made:
    """A network that is to be written, with its study, as which its rows are read, and its point's numbers."""

    study: Reopened
    network: Network
    point: FrontPoint
    remarks: tuple[str, ...] = ()


def read_text(file: Path | str) -> tuple[str, ...]:
    """Return the lines of a text file.

    Raises:
        BadInput: it cannot be read, or is empty.
    """
    path = Path(file).expanduser()
    try:
        lines = tuple(line for line in text_of(path.read_bytes()).splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read: {error}. --keep-text is a text file in UTF-8.") from error
    if not lines:
        raise BadInput(f"{file} has no text. --keep-text is a text file whose tokens are kept.")
    return lines


def trim(made: Made, texts: Sequence[str]) -> Made:
    """Return a network without the tokens that neither its task's training rows need nor `texts`.

    Its validation rows are read anew: the remarks say how many have removed tokens, and what its metric is now.

    Raises:
        BadInput: the tokenizer cannot be trimmed, or the network predicts words.
        RuntimeError: rows without removed tokens have other logits.
    """
    study, network = made.study, made.network
    if study.inputs.source.network == LANGUAGE_MODEL:
        raise BadInput(
            "A language model predicts its words: with fewer of them it is another network, of another likelihood. "
            "Leave --trim-vocabulary and --keep-text out."
        )
    source, vocabulary = trim_source(study.inputs.source, [*train_texts(study.task), *texts])
    model = copy.deepcopy(network.model)
    trim_network(model, vocabulary)
    data = tokenise(study.task, tokenizer(source))
    before = study.inputs.data
    if study.task.kind.unlabelled:  # the labels are the dense network's answers
        data = TaskData(
            *(
                now.with_labels(old.labels)
                for now, old in (
                    (data.train, before.train),
                    (data.calibration, before.calibration),
                    (data.validation, before.validation),
                )
            )
        )
    whole = _whole_rows(before.validation, vocabulary)
    _check_same(study.inputs.kind, network.model, model, before.validation, data.validation, whole)
    inputs = replace(study.inputs, source=source, data=data)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    dense = study.spec.anchors.dense_parameters
    gone, nonzero = made.point.parameters - parameters, made.point.nonzero_parameters
    point = replace(
        made.point,
        parameters=parameters,
        nonzero_parameters=None if nonzero is None else nonzero - gone,  # only matrices of layers have zeros
        size_mb=parameters * BYTES_PER_PARAMETER / MEGABYTE,
        compression_total=1 - parameters / dense,
    )
    rows, lost = len(whole), int((~whole).sum())
    metric = inputs.evaluate(model).metrics["metric"]
    remarks = [vocabulary.remark]
    if lost:
        remarks.append(
            f"{share_of(lost, rows)} of the validation rows ({lost:,} of {rows:,}) have removed tokens and are read in "
            f"other pieces: {study.spec.metric_name} on validation is {metric:.4f} with the trimmed vocabulary."
        )
    return Made(replace(study, inputs=inputs), replace(network, model=model), point, tuple(remarks))


def _whole_rows(rows: Split, vocabulary: Vocabulary) -> np.ndarray:
    """Return which rows [R] have kept tokens alone."""
    kept = np.zeros(vocabulary.before, bool)
    kept[vocabulary.kept] = True
    return np.array([kept[row].all() for row in rows.table["input_ids"].to_pylist()], bool)


def _check_same(
    kind: Kind, before: PreTrainedModel, after: PreTrainedModel, old: Split, new: Split, whole: np.ndarray
) -> None:
    """Check that rows without removed tokens have the same logits."""
    chosen = np.flatnonzero(whole)[:CHECKED_ROWS]
    if not len(chosen):
        return
    with torch.inference_mode():
        first, second = (
            kind.outputs(network(**encoder_inputs(batch := rows.collate(chosen))), batch)
            for network, rows in ((before, old), (after, new))
        )
    difference = (first - second).abs().max().item()
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"A network with a trimmed vocabulary computes the same for kept tokens; logits differ by {difference:.2g}."
        )
