"""A task: a name or a file -> rows with labels -> TaskData, tokenised once per study.

    builtin/docstrings   sentences of docstrings, shipped with this package; needs no download
    glue/sst2 ...        the nine tasks of GLUE, from the hub
    hf:NAME@CONFIG       any hub data set, or a local folder laid out like one; @CONFIG where it has several
    FILE or FOLDER       local csv, tsv, jsonl or parquet rows; columns by --text and --label, or by their names
    PATH.toml            such files, described by a task file

Validation is carved out of the official train split by the rows' own text, so that it is the same for every
seed. Test rows are described by a Task and opened by `open_test` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.metrics import AGREEMENT, METRICS, is_regression
from pipeline.study.records import BadInput
from pipeline.task.batches import Split, TaskData
from pipeline.task.carve import calibration_rows, validation_rows
from pipeline.task.checked import (
    OF_ONE_CLASS,
    numbered,
    positive_last,
    require_different,
    require_unseen,
    said_of,
    unknown,
    whole,
)
from pipeline.task.labels import (
    alike,
    class_names,
    labelled,
)
from pipeline.task.outline import Outline, TestSource, outline_of, with_length
from pipeline.task.overlap import TEXT_COLUMNS, row_keys, shared_rows, told
from pipeline.task.rows import PartOfFile, fingerprint
from pipeline.task.tokencache import WORTH_ROWS, kept, tokens_folder
from pipeline.task.tokens import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
REFUSED_LATER = "An export and a confirmation will be refused, as things are."


NO_LABELS = (
    "The rows have no labels: the metric is agreement, the share of rows for which a network predicts the class that "
    "the dense network predicts."
)


@dataclass(frozen=True)
class Task:
    """A task with its rows as text.

    `train` and `validation` have the columns id, text_a, text_b (of pairs) and label: int64, the index in
    `class_names`, or float32 for a regression. `outputs` is the number of classes, 1 for a regression; of a task
    without labels (metric AGREEMENT) the label is -1, and there are no classes: the model has them;
    `text` are the columns' own names; `max_length` is in tokens. `fingerprint` is the sha256 of train and
    validation rows, classes, metric and max_length.
    """

    name: str
    metric: str
    outputs: int
    regression: bool
    class_names: tuple[str, ...]
    text: tuple[str, ...]
    max_length: int
    train: pa.Table
    validation: pa.Table
    test: TestSource
    fingerprint: str
    drop_empty: bool = False  # rows without a text are left out
    shared: Mapping[str, int] = field(default_factory=dict)  # rows of two parts, as `shared_rows`
    remarks: tuple[str, ...] = ()  # for the user, on how the rows were read


@dataclass(frozen=True)
class OpenedTest:
    """The parts of the official dev split by name, as tables like `Task.train`: those that have labelled rows.

    `shared`: rows that are train or validation rows, too, as `shared_rows`. `remarks`: sentences for the user.
    """

    parts: dict[str, pa.Table]
    shared: dict[str, int]
    remarks: tuple[str, ...]


def load_task(
    name_or_file: str,
    *,
    cache: Path,
    text: tuple[str, ...] = (),
    label: str | None = None,
    metric: str | None = None,
    max_length: int | None = None,
    drop_empty: bool = False,
) -> Task:
    """Read the official train split of a task and carve validation out of it; test rows stay unread.

    `text`, `label`, `metric` (default "accuracy") and `max_length` (128) describe a file of rows or a hub data set, and
    only these; the columns of a file are found by their usual names. In `cache` is kept what came from the hub.
    `drop_empty`: rows without a text are left out; else they are refused.

    Raises:
        BadInput: there is no such task, or its description or its rows cannot be used.
    """
    outline = outline_of(name_or_file, cache=cache, text=text, label=label, metric=metric)
    if max_length is not None:
        outline = with_length(outline, max_length, name_or_file)
    return _load(outline, drop_empty=drop_empty)


def open_test(task: Task) -> dict[str, pa.Table]:
    """Return the parts of `read_test`.

    Raises:
        BadInput: as `read_test`.
    """
    return read_test(task).parts


def read_test(task: Task) -> OpenedTest:
    """Read the official dev split: its parts (`test`; MNLI has `test_mismatched`, too), without unlabelled rows.

    For `confirm` and `export`; a search may look at the remarks alone.

    Raises:
        BadInput: the rows cannot be used, or have classes that train has not.
    """
    parts: dict[str, pa.Table] = {}
    remarks: list[str] = []
    for part, source in task.test.parts:
        with said_of(source):
            rows, remark = source.read_and_tell(part)
            remarks += [] if isinstance(source, PartOfFile) else remark  # that was said when train was read
            rows, unlabelled = labelled(rows, task.class_names)
            if unlabelled:
                remarks.append(_unlabelled(part, unlabelled, rows.num_rows))
            if unlabelled and not rows.num_rows:
                continue
            rows = whole(rows, part, remarks, drop_empty=task.drop_empty)
            parts[part] = unknown(rows) if task.metric == AGREEMENT else numbered(rows, task.class_names)
    known = {"train": row_keys(task.train), "validation": row_keys(task.validation)}
    shared = {
        pair: count
        for part, rows in parts.items()
        for pair, count in shared_rows({**known, part: row_keys(rows)}).items()
        if pair.startswith(f"{part}+")
    }
    counts = {part: rows.num_rows for part, rows in parts.items()}
    return OpenedTest(parts, shared, (*remarks, *told(shared, counts)))


def look_at_test(task: Task) -> OpenedTest:
    """Return what a user should know of the test rows before a search; no row of them is returned.

    What lies on the hub is not fetched for that. Test rows that cannot be used are a remark: an export and a
    confirmation would be refused.
    """
    local = tuple((part, source) for part, source in task.test.parts if source.is_here)
    try:
        found = read_test(replace(task, test=TestSource(local)))
    except BadInput as error:
        return OpenedTest({}, {}, (f"{REFUSED_LATER} {error}",))
    return replace(found, parts={part: rows.slice(0, 0) for part, rows in found.parts.items()})


def _unlabelled(part: str, unlabelled: int, rest: int) -> str:
    if not rest:
        return f"No {part} row has a label: there is no score on test rows, and nothing can be confirmed."
    return f"{unlabelled:,} of the {unlabelled + rest:,} {part} rows have no label and are left out."


def train_texts(task: Task) -> list[str]:
    """Return all texts of the train rows, for training a tokenizer."""
    columns = [name for name in TEXT_COLUMNS if name in task.train.column_names]
    return [text for name in columns for text in task.train[name].to_pylist()]


def tokenise(task: Task, tokenizer: PreTrainedTokenizerFast, *, cache: Path | None = None) -> TaskData:
    """Return train, calibration and validation rows as token ids; test is left out.

    Calibration is a stratified part of train, at most 512 rows, the same for every seed. What takes long is kept in
    `cache`, for other studies of the task.

    Raises:
        ValueError: if the tokenizer has no padding token.
    """
    rows = {"train": task.train, "validation": task.validation}
    if cache is None or sum(part.num_rows for part in rows.values()) < WORTH_ROWS:
        splits = {name: _split(part, tokenizer, task.max_length) for name, part in rows.items()}
    else:
        folder = tokens_folder(cache, task_fingerprint=task.fingerprint, tokenizer=tokenizer)
        splits = {
            name: _split(part, tokenizer, task.max_length, file=folder / f"{name}.arrow")
            for name, part in rows.items()
        }
    train, validation = splits["train"], splits["validation"]
    aside = calibration_rows(train.ids, train.labels, regression=task.regression)
    return TaskData(train=train, calibration=train.take(np.flatnonzero(aside)), validation=validation)


def tokenise_test(
    task: Task, tokenizer: PreTrainedTokenizerBase, *, rows: Mapping[str, pa.Table] | None = None
) -> dict[str, Split]:
    """Return the parts of the official dev split as token ids. For `confirm` and `export` only.

    `rows`: those parts, where they have been read.

    Raises:
        BadInput, ValueError: as `open_test` and `tokenise`.
    """
    parts = open_test(task) if rows is None else rows
    return {part: _split(found, tokenizer, task.max_length) for part, found in parts.items()}


def _split(
    rows: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int, *, file: Path | None = None
) -> Split:
    if tokenizer.pad_token_id is None:
        raise ValueError("Batches are padded: the tokenizer needs a padding token, and this one has none.")
    make = partial(encode, rows, tokenizer, max_length=max_length)
    return Split(make() if file is None else kept(file, make), int(tokenizer.pad_token_id))


def _load(outline: Outline, *, drop_empty: bool) -> Task:
    if outline.metric not in METRICS:
        raise BadInput(f"A metric is one of {', '.join(METRICS)}; {outline.name} has {outline.metric!r}.")
    regression, blank = is_regression(outline.metric), outline.metric == AGREEMENT
    with said_of(outline.train):
        rows, told_of = outline.train.read_and_tell("train")
        remarks = [*outline.remarks, *told_of]
        rows = whole(rows, "train", remarks, drop_empty=drop_empty)
        names = () if regression or blank else class_names(rows["label"])
        remarks += alike(names)
        names = positive_last(names, outline.positive, outline.metric)
        train = unknown(rows) if blank else numbered(rows, names)
        if regression and pc.count_distinct(train["label"]).as_py() == 1:
            raise ValueError("its rows have one and the same label; a regression needs different ones")
        if outline.validation is None:
            train, validation = _carved(train, regression)
            if not blank:
                require_different(validation)
    shared: dict[str, int] = {}
    if outline.validation is not None:
        with said_of(outline.validation):
            rows, told_of = outline.validation.read_and_tell("validation")
            remarks += told_of
            rows = whole(rows, "validation", remarks, drop_empty=drop_empty)
            validation = unknown(rows) if blank else numbered(rows, names)
            if not blank:
                require_different(validation)
        shared = shared_rows({"train": row_keys(train), "validation": row_keys(validation)})
        require_unseen(shared, validation.num_rows, outline.validation)
        remarks += told(shared, {"validation": validation.num_rows})
    if blank:
        remarks.append(NO_LABELS)
    if len(names) == 2 and outline.metric in OF_ONE_CLASS:
        remarks.append(f"F1 is that of the class {names[1]!r}.")
    absent = {*range(len(names))} - {*validation["label"].to_pylist()}
    remarks += [f"No validation row has the class {names[number]!r}." for number in sorted(absent)]
    return Task(
        name=outline.name,
        metric=outline.metric,
        outputs=1 if regression else len(names),
        regression=regression,
        class_names=names,
        text=outline.train.text,
        max_length=outline.max_length,
        train=train,
        validation=validation,
        test=outline.test,
        fingerprint=fingerprint([outline.metric, outline.max_length, names], train, validation),
        drop_empty=drop_empty,
        shared=shared,
        remarks=tuple(remarks),
    )


def _carved(rows: pa.Table, regression: bool) -> tuple[pa.Table, pa.Table]:
    """Split the official train split into train, and validation by the rows' own text."""
    texts = [rows[name].to_pylist() for name in TEXT_COLUMNS if name in rows.column_names]
    aside = validation_rows(list(zip(*texts, strict=True)), rows["label"].to_numpy(), regression=regression)
    if not aside.any():
        raise ValueError(f"its {rows.num_rows} rows are too few, or too alike, to carve validation out")
    return rows.filter(pa.array(~aside)).combine_chunks(), rows.filter(pa.array(aside)).combine_chunks()
