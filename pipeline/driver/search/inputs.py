"""Model and tokenised rows of a search: what is read before a study begins."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from pipeline.driver.search.request import Search
from pipeline.methods.registry import METHODS
from pipeline.methods.smp import check_fitted, find_fitted
from pipeline.model.device import AUTO, CPU
from pipeline.model.folder import BUILTINS
from pipeline.model.resolve import classes_of, resolve_model
from pipeline.model.source import ModelSource, Weights, read_weights
from pipeline.model.trim import trim_source
from pipeline.study.records import BadInput
from pipeline.study.store import DataFacts, Store
from pipeline.task.loading import Task, load_task, look_at_test, train_texts
from pipeline.task.tokens import share_of
from pipeline.trial.inputs import TrialInputs, head_of, inputs_of


def read_task(request: Search, *, cache: Path) -> Task:
    """Read the task of a search.

    Raises:
        BadInput: there is no such task, or it cannot be read.
    """
    task = load_task(
        request.task,
        cache=cache,
        text=request.text,
        label=request.label,
        metric=request.metric,
        drop_empty=request.drop_empty,
        max_length=request.max_length,
        kind=request.kind,
    )
    if task.kind.unlabelled and not task.kind.trains_on_answers and not request.no_training:
        raise BadInput(
            f"The rows of {task.name} have no labels to train on. Give --no-training and a fine-tuned "
            "model by --model, or name the rows' label."
        )
    return task


def data_facts(task: Task, inputs: TrialInputs) -> DataFacts:
    """Return what a user should know of a search's rows and model. Of test rows that are files here it is read, too."""
    test, data = look_at_test(task), inputs.data
    cut = {"train": data.train.cut, "validation": data.validation.cut}
    limit = min(task.max_length, data.train.limit or task.max_length)
    remarks = [*task.remarks, *test.remarks]
    if limit < task.max_length:
        remarks.append(
            f"The model's tokenizer takes {limit} tokens at most, the task has max_length = {task.max_length}: rows "
            f"are cut at {limit}."
        )
    rows = {"train": len(data.train), "validation": len(data.validation)}
    remarks += [
        f"{share_of(cut[part], rows[part])} of {part} rows ({cut[part]:,} of {rows[part]:,}) are longer than {limit} "
        "tokens and are cut there."
        for part in rows
        if cut[part]
    ]
    return DataFacts(
        classes=inputs.classes,
        rows=rows,
        shared=dict(task.shared) | test.shared,
        cut=cut,
        remarks=(*remarks, *inputs.source.remarks),
        original=inputs.source.original,
    )


def make_inputs(request: Search, task: Task, *, study: str, cache: Path) -> TrialInputs:
    """Read the model and tokenise the rows that all trials share. Test rows are not among them.

    Args:
        request: the options of the search.
        task: its task, with rows as text.
        study: name of the study: one that has begun keeps the pruner that was fitted then.
        cache: folder for tokenised rows.

    Raises:
        BadInput: the model cannot be read, or reaches fewer tokens than the task's rows have.
    """
    blank = task.kind.unlabelled
    headed = blank and not task.kind.trains_on_answers
    kind = task.kind.of_model(classes_of(request.model), {}) if headed else task.kind
    source = resolve_model(
        request.model,
        head=head_of(kind),
        train_texts=train_texts(task) if request.model in BUILTINS else [],
        trust_remote_code=request.trust_remote_code,
    )
    if task.max_length > source.max_length:
        raise BadInput(
            f"max_length is {task.max_length} tokens, and {request.model} has positions for {source.max_length}. Give "
            "a smaller max_length."
        )
    fitted = _fitted(request, task, source, study=study)
    if request.trim_vocabulary:
        source, _ = trim_source(source, train_texts(task))
    inputs = inputs_of(
        task,
        source,
        method=request.method,
        precision=request.precision,
        distill=request.distill,
        compile=request.compile,
        checkpointing=request.activation_checkpointing,
        fitted=fitted,
        cache=cache,
        device=CPU if request.gpus_per_trial == 0 else AUTO,
        answers=Store(request.store).study(study).origin.answers() if blank else None,
    )
    check_types(request, inputs)
    return inputs


def check_types(request: Search, inputs: TrialInputs) -> None:
    """Refuse token types that the network has not: the second text of a pair has type 1.

    Raises:
        BadInput: rows have such.
    """
    known = inputs.source.config.get("type_vocab_size")
    for rows in (inputs.data.train, inputs.data.validation):
        if known and "token_type_ids" in rows.table.column_names:
            found = 1 + int(pc.max(pc.list_flatten(rows.table["token_type_ids"])).as_py())
            if found > known:
                raise BadInput(
                    f"The tokenizer of {request.model} gives {found} types of tokens, and type_vocab_size of its "
                    f"config.json is {known}. Give the tokenizer that the model was trained "
                    'with, or leave token_type_ids out of "model_input_names" in tokenizer_config.json.'
                )


def check_method(request: Search, store: Store) -> None:
    """Refuse a method that needs a fit which the store does not have, before anything of the task is read.

    Raises:
        BadInput: the method's pruner is not fitted; the message has the command that fits it.
    """
    begun = request.name is not None and store.study(request.name).exists()
    if METHODS[request.method].needs_fit and not begun:
        check_fitted(store, request.model, request.task, trust_remote_code=request.trust_remote_code)


def _fitted(request: Search, task: Task, source: ModelSource, *, study: str) -> Weights | None:
    """Return what was fitted to the model; of a study that has begun, as it was then."""
    if not METHODS[request.method].needs_fit:
        return None
    store = Store(request.store)
    own = store.study(study).origin.fitted()
    if own.exists():
        return read_weights(own)
    return find_fitted(store, source, pair="text_b" in task.train.column_names)
