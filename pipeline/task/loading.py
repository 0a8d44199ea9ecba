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

from pipeline.study.records import BadInput
from pipeline.task.batches import Split, TaskData
from pipeline.task.carve import calibration_rows, validation_rows
from pipeline.task.checked import require_unseen, said_of, whole
from pipeline.task.kinds import Kind
from pipeline.task.labels import alike, labelled
from pipeline.task.outline import Outline, TestSource, outline_of, with_length
from pipeline.task.overlap import overlap_remarks, row_keys, shared_rows
from pipeline.task.rows import PartOfFile, fingerprint
from pipeline.task.tokencache import WORTH_ROWS, kept, tokens_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

REFUSED_LATER = "An export and a confirmation will be refused, as things are."


@dataclass(frozen=True)
class Task:
    """A task with its rows as text.

    `train` and `validation` have the columns id, text_a, text_b (of pairs) and label, as `Kind.numbered` returned it;
    of a task without labels it is -1, and its kind has no classes: the model has them. `text` are the columns' own
    names; `max_length` is in tokens. `fingerprint` is the sha256 of train and validation rows, classes, metric,
    max_length and what else the task file chose (a kind's `variant`).
    """

    name: str
    kind: Kind
    text: tuple[str, ...]
    max_length: int
    train: pa.Table
    validation: pa.Table
    test: TestSource
    fingerprint: str
    drop_empty: bool = False  # rows without a text are left out
    shared: Mapping[str, int] = field(default_factory=dict)  # rows of two parts, as `shared_rows`
    remarks: tuple[str, ...] = ()  # for the user, on how the rows were read

    @property
    def metric(self) -> str:
        """The name of its metric."""
        return self.kind.metric

    @property
    def class_names(self) -> tuple[str, ...]:
        """Its classes, in their order; of a regression none."""
        return self.kind.class_names


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
    label: str | tuple[str, ...] | None = None,
    metric: str | None = None,
    max_length: int | None = None,
    drop_empty: bool = False,
    kind: str | None = None,
) -> Task:
    """Read the official train split of a task and carve validation out of it; test rows stay unread.

    `text`, `label`, `metric` (default "accuracy") and `max_length` (128) describe a file of rows or a hub data set, and
    only these; the columns of a file are found by their usual names. In `cache` is kept what came from the hub.
    `kind` is a key of KINDS; without it the metric decides. `drop_empty`: rows without a text are left out; else they
    are refused.

    Raises:
        BadInput: there is no such task, or its description or its rows cannot be used.
    """
    outline = outline_of(name_or_file, cache=cache, text=text, label=label, metric=metric, kind=kind)
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
            rows, remark = source.read_with_remarks(part)
            remarks += [] if isinstance(source, PartOfFile) else remark  # that was said when train was read
            rows, unlabelled = labelled(rows, task.class_names)
            if unlabelled:
                remarks.append(_unlabelled(part, unlabelled, rows.num_rows))
            if unlabelled and not rows.num_rows:
                continue
            rows = whole(rows, part, remarks, drop_empty=task.drop_empty)
            parts[part] = task.kind.numbered(rows)
    known = {"train": row_keys(task.train), "validation": row_keys(task.validation)}
    shared = {
        pair: count
        for part, rows in parts.items()
        for pair, count in shared_rows({**known, part: row_keys(rows)}).items()
        if pair.startswith(f"{part}+")
    }
    counts = {part: rows.num_rows for part, rows in parts.items()}
    return OpenedTest(parts, shared, (*remarks, *overlap_remarks(shared, counts)))


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
    """Return what a built-in model is made from: all texts of the train rows, or sizes of its images."""
    return task.kind.examples(task.train)


def tokenise(task: Task, tokenizer: PreTrainedTokenizerFast, *, cache: Path | None = None) -> TaskData:
    """Return train, calibration and validation rows as token ids; test is left out.

    Calibration is a stratified part of train, at most 512 rows, the same for every seed. What takes long is kept in
    `cache`, for other studies of the task.

    Raises:
        ValueError: if the tokenizer has no padding token.
    """
    rows = {"train": task.train, "validation": task.validation}
    if cache is None or sum(part.num_rows for part in rows.values()) < WORTH_ROWS:
        splits = {name: _split(task, part, tokenizer) for name, part in rows.items()}
    else:
        folder = tokens_folder(cache, task_fingerprint=task.fingerprint, tokenizer=tokenizer)
        splits = {
            name: _split(task, part, tokenizer, file=folder / f"{name}.arrow") for name, part in rows.items()
        }
    train, validation = splits["train"], splits["validation"]
    aside = calibration_rows(train.ids, task.kind.strata(train.table["label"]))
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
    return {part: _split(task, found, tokenizer) for part, found in parts.items()}


def _split(
    task: Task, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, file: Path | None = None
) -> Split:
    make = partial(task.kind.encode, rows, tokenizer, max_length=task.max_length)
    return task.kind.split(make() if file is None else kept(file, make), tokenizer)


def _load(outline: Outline, *, drop_empty: bool) -> Task:
    with said_of(outline.train):
        rows, read = outline.train.read_with_remarks("train")
        remarks = [*outline.remarks, *read]
        rows = whole(rows, "train", remarks, drop_empty=drop_empty)
        kind = outline.kind.learn(rows, outline.described)
        remarks += alike(kind.class_names)
        train = kind.numbered(rows)
        kind.require(train, "train")
        if outline.validation is None:
            train, validation = _carved(train, kind)
            kind.require(validation, "validation")
    shared: dict[str, int] = {}
    if outline.validation is not None:
        with said_of(outline.validation):
            rows, read = outline.validation.read_with_remarks("validation")
            remarks += read
            rows = whole(rows, "validation", remarks, drop_empty=drop_empty)
            validation = kind.numbered(rows)
            kind.require(validation, "validation")
        shared = shared_rows({"train": row_keys(train), "validation": row_keys(validation)})
        require_unseen(shared, validation.num_rows, outline.validation)
        remarks += overlap_remarks(shared, {"validation": validation.num_rows})
    remarks += kind.remarks(validation)
    return Task(
        name=outline.name,
        kind=kind,
        text=outline.train.text,
        max_length=outline.max_length,
        train=train,
        validation=validation,
        test=outline.test,
        fingerprint=fingerprint(
            [kind.metric, outline.max_length, kind.class_names, *kind.variant], train, validation
        ),
        drop_empty=drop_empty,
        shared=shared,
        remarks=tuple(remarks),
    )


def _carved(rows: pa.Table, kind: Kind) -> tuple[pa.Table, pa.Table]:
    """Split the official train split into train, and validation by the rows' own text."""
    aside = validation_rows(kind.keys(rows), kind.strata(rows["label"]))
    if not aside.any():
        raise ValueError(f"its {rows.num_rows} rows are too few, or too alike, to carve validation out")
    return rows.filter(pa.array(~aside)).combine_chunks(), rows.filter(pa.array(aside)).combine_chunks()
