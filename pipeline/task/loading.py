"""A task: a name or a file -> rows with labels -> TaskData, tokenised once per study.

    builtin/docstrings   sentences of installed packages; needs no download
    glue/sst2 ...        the nine tasks of GLUE, from the hub
    hf:NAME@CONFIG       any hub data set, or a local folder laid out like one; @CONFIG where it has several
    PATH.toml            local csv, tsv, jsonl or parquet files, described by a task file

Validation is carved out of the official train split by the rows' own text, so that it is the same for every
seed. Test rows are described by a Task and opened by `open_test` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.study.metrics import METRICS, is_regression
from pipeline.study.records import BadInput
from pipeline.task.batches import Split, TaskData
from pipeline.task.carve import calibration_rows, text_key, validation_rows
from pipeline.task.labels import class_names, class_numbers, require_whole, values
from pipeline.task.outline import Outline, Source, TestSource, outline_of
from pipeline.task.rows import TEXT_COLUMNS, fingerprint
from pipeline.task.tokencache import WORTH_ROWS, kept, tokens_folder
from pipeline.task.tokens import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Task:
    """A task with its rows as text.

    `train` and `validation` have the columns id, text_a, text_b (of pairs) and label: int64, the index in
    `class_names`, or float32 for a regression. `outputs` is the number of classes, 1 for a regression;
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


def load_task(
    name_or_file: str,
    *,
    cache: Path,
    text: tuple[str, ...] = (),
    label: str | None = None,
    metric: str | None = None,
) -> Task:
    """Read the official train split of a task and carve validation out of it; test rows stay unread.

    `text` (default "text"), `label` ("label") and `metric` ("accuracy") describe a hub data set and only
    that. In `cache` are kept the parsed built-in corpus and what came from the hub.

    Raises:
        BadInput: there is no such task, or its description or its rows cannot be used.
    """
    return _load(outline_of(name_or_file, cache=cache, text=text, label=label, metric=metric))


def open_test(task: Task) -> dict[str, pa.Table]:
    """Read the official dev split: its parts by name (`test`; MNLI has `test_mismatched`, too).

    The tables are like `task.train`. For `confirm` and `export` only: no search may call this.

    Raises:
        BadInput: the rows cannot be used, or have classes that train has not.
    """
    return {part: _part(source, part, task.class_names) for part, source in task.test.parts}


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


def tokenise_test(task: Task, tokenizer: PreTrainedTokenizerBase) -> dict[str, Split]:
    """Return the parts of the official dev split as token ids. For `confirm` and `export` only.

    Raises:
        BadInput, ValueError: as `open_test` and `tokenise`.
    """
    return {part: _split(rows, tokenizer, task.max_length) for part, rows in open_test(task).items()}


def _split(
    rows: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int, *, file: Path | None = None
) -> Split:
    if tokenizer.pad_token_id is None:
        raise ValueError("Batches are padded: the tokenizer needs a padding token, and this one has none.")
    make = partial(encode, rows, tokenizer, max_length=max_length)
    return Split(make() if file is None else kept(file, make), int(tokenizer.pad_token_id))


def _load(outline: Outline) -> Task:
    if outline.metric not in METRICS:
        raise BadInput(f"A metric is one of {', '.join(METRICS)}; {outline.name} has {outline.metric!r}.")
    regression = is_regression(outline.metric)
    with _said_of(outline.train):
        rows = outline.train.read("train")
        require_whole(rows)
        names = () if regression else class_names(rows["label"])
        train = _numbered(rows, names)
        if regression and pc.count_distinct(train["label"]).as_py() == 1:
            raise ValueError("its rows have one and the same label; a regression needs different ones")
        if outline.validation is None:
            train, validation = _carved(train, regression)
    if outline.validation is not None:
        validation = _part(outline.validation, "validation", names)
        _require_unseen(validation, train, outline.validation)
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
    )


@contextmanager
def _said_of(source: Source) -> Iterator[None]:
    """Put what is wrong with a source's rows into a message for the user who named it."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        facts = f"{source}: {error}".rstrip(".")
        raise BadInput(f"Rows are whole and readable. {facts}. {source.way_out}") from error


def _part(source: Source, part: str, names: tuple[str, ...]) -> pa.Table:
    """Check and convert rows of a part by the classes of the train split."""
    with _said_of(source):
        rows = source.read(part)
        require_whole(rows)
        return _numbered(rows, names)


def _require_unseen(validation: pa.Table, train: pa.Table, source: Source) -> None:
    """Refuse validation rows that are all train rows: every front would be that of rows the networks have learned."""
    seen = _row_keys(train)
    if all(key in seen for key in _row_keys(validation)):
        raise BadInput(
            f"Validation rows are rows that no network is trained on. {source}: all {validation.num_rows} rows are "
            "train rows, too. Give other rows, or leave validation out: a part of train is kept aside then."
        )


def _row_keys(rows: pa.Table) -> set[tuple[str, object]]:
    """Return the text and label of every row; case, white space and the order of a pair make no difference."""
    texts = [rows[name].to_pylist() for name in TEXT_COLUMNS if name in rows.column_names]
    return {(text_key(*row[:-1]), row[-1]) for row in zip(*texts, rows["label"].to_pylist(), strict=True)}


def _numbered(rows: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """Return the rows with labels that a network learns: classes if there are names, else values."""
    label = class_numbers(rows["label"], names) if names else values(rows["label"])
    return rows.set_column(rows.column_names.index("label"), "label", label).combine_chunks()


def _carved(rows: pa.Table, regression: bool) -> tuple[pa.Table, pa.Table]:
    """Split the official train split into train, and validation by the rows' own text."""
    texts = [rows[name].to_pylist() for name in TEXT_COLUMNS if name in rows.column_names]
    aside = validation_rows(list(zip(*texts, strict=True)), rows["label"].to_numpy(), regression=regression)
    if not aside.any():
        raise ValueError(f"its {rows.num_rows} rows are too few, or too alike, to carve validation out")
    return rows.filter(pa.array(~aside)).combine_chunks(), rows.filter(pa.array(aside)).combine_chunks()
